//! Asking before what can't be taken back.

use std::io::{BufRead, IsTerminal, Write};

use super::exit::Failure;

/// Whether the person at the terminal agrees. Nobody else is asked.
pub fn agrees(question: &str) -> anyhow::Result<bool> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(Failure::usage("nobody can be asked here: say --yes"));
    }
    let mut err = std::io::stderr().lock();
    write!(err, "{} [y/N] ", super::output::tame(question))?;
    err.flush()?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    Ok(is_yes(&answer))
}

fn is_yes(answer: &str) -> bool {
    ["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_is_yes() {
        assert!(["y", "Y\n", "yes\n", " Yes "].into_iter().all(is_yes));
        assert!(!["", "\n", "n", "no", "yeah", "j"].into_iter().any(is_yes));
    }
}
