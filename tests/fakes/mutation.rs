//! Changes a JSON text here and there, as no vendor should.

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

/// The same text with some of its parts removed, doubled or replaced.
pub fn mutated(body: &[u8], seed: u64) -> Vec<u8> {
    let mut rng = StdRng::seed_from_u64(seed);
    let Ok(mut value) = serde_json::from_slice::<Value>(body) else {
        return odd(&mut rng).to_string().into_bytes();
    };
    for _ in 0..rng.random_range(1..4) {
        mutate(&mut value, &mut rng);
    }
    value.to_string().into_bytes()
}

fn mutate(value: &mut Value, rng: &mut StdRng) {
    let deeper = rng.random_range(0..4) > 0;
    match value {
        Value::Array(items) if deeper && !items.is_empty() => {
            let at = rng.random_range(0..items.len());
            match rng.random_range(0..6) {
                0 => drop(items.remove(at)),
                1 => items.push(items[at].clone()),
                2 => items.reverse(),
                _ => mutate(&mut items[at], rng),
            }
        }
        Value::Object(fields) if deeper && !fields.is_empty() => {
            let at = rng.random_range(0..fields.len());
            let Some(name) = fields.keys().nth(at).cloned() else { return };
            match rng.random_range(0..5) {
                0 => drop(fields.remove(&name)),
                1 => drop(fields.insert(format!("{name}_"), odd(rng))),
                _ => {
                    if let Some(field) = fields.get_mut(&name) {
                        mutate(field, rng);
                    }
                }
            }
        }
        other => *other = odd(rng),
    }
}

/// What no field expects.
fn odd(rng: &mut StdRng) -> Value {
    let odd = [
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(u64::MAX),
        json!(1.5e300),
        json!(""),
        json!("\u{0}\u{202e}\n"),
        json!("x".repeat(5000)),
        json!("9999-99-99T99:99:99Z"),
        json!([]),
        json!({}),
        json!([[[[]]]]),
        json!({ "errors": [{ "base": 1 }] }),
    ];
    odd[rng.random_range(0..odd.len())].clone()
}
