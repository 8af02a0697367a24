//! The clipboard of the desktop, by its own tools. The value goes to their standard input, never into their arguments.

use std::{
    io::{ErrorKind, Write},
    process::{Command, Stdio},
};

use anyhow::{Context, anyhow, bail};

/// Tools and their arguments, in the order in which they are tried; the variable says whether its desktop is there.
const TOOLS: [(&str, &[&str], Option<&str>); 3] = [
    ("wl-copy", &[], Some("WAYLAND_DISPLAY")),
    ("xclip", &["-selection", "clipboard"], Some("DISPLAY")),
    ("pbcopy", &[], None),
];

/// Copies the value. The name of the tool that took it.
pub fn copy(value: &[u8]) -> anyhow::Result<&'static str> {
    let tools = TOOLS
        .iter()
        .filter(|(_, _, desktop)| desktop.is_none_or(|variable| std::env::var_os(variable).is_some()));
    for (tool, arguments, _) in tools {
        if feed(tool, arguments, value)? {
            return Ok(tool);
        }
    }
    Err(anyhow!(
        "there is no clipboard here: neither wl-copy nor xclip with a desktop, nor pbcopy"
    ))
}

/// Whether the tool is there, and took it.
fn feed(tool: &str, arguments: &[&str], value: &[u8]) -> anyhow::Result<bool> {
    let mut command = Command::new(tool);
    // What keeps the clipboard lives on: it must not hold our output open.
    command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut child = match command.spawn() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        spawned => spawned.with_context(|| format!("{tool} can't be run"))?,
    };
    let written = child.stdin.take().map(|mut stdin| stdin.write_all(value));
    let status = child.wait()?;
    if !status.success() || !matches!(written, Some(Ok(()))) {
        bail!("{tool} did not take the value ({status})");
    }
    Ok(true)
}
