//! Answers the prompt, and prints the answer as it comes.
//!   driftwood run --prompt "Name three things that float." generate.wasm
use std::env;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let prompt = env::var("DRIFTWOOD_PROMPT");
    let prompt = prompt.as_deref().unwrap_or("Name three things that float.");
    let tokens_max = env::var("DRIFTWOOD_MAX_TOKENS").map_or(Ok(64), |text| text.parse())?;
    let model = driftwood::Model::open("")?;
    let mut chat = driftwood::Chat::new(&model);
    chat.add("user", prompt);
    chat.answer(tokens_max, driftwood::print)?;
    println!();
    Ok(())
}
