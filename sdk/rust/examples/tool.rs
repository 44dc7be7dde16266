//! The model calls a tool of the host's, and answers with what that said.
//!   driftwood run --tool 'weather=echo sunny, 21 degrees' tool.wasm
use driftwood::{json, Chat, Model, Params};

const TOOLS: &str = r#""tools":[{"type":"function","function":{"name":"weather",
    "description":"The weather in a city","parameters":{"type":"object","properties":
    {"city":{"type":"string","maxLength":20}},"required":["city"]}}}]"#;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let model = Model::open("")?;
    let must_call = format!(r#"{TOOLS},"tool_choice":"required","parallel_tool_calls":false"#);
    let mut chat = Chat::with(&model, Params::default(), &must_call);
    chat.add("user", "What is the weather in Oslo?");
    let message = chat.answer(96, |_| {})?;

    let call = json::member(&message, "tool_calls").and_then(|calls| json::item(calls, 0));
    let function = call.and_then(|call| json::member(call, "function")).ok_or("no call")?;
    let name = json::text(json::member(function, "name").ok_or("a call without a name")?);
    let arguments = json::text(json::member(function, "arguments").unwrap_or("{}"));
    println!("{name} {arguments}");
    let result = driftwood::call(&name, arguments.as_bytes())?;
    let result = String::from_utf8(result)?;
    print!("-> {result}");

    chat.set_options(TOOLS);
    chat.add("tool", &result);
    chat.answer(48, driftwood::print)?;
    println!();
    Ok(())
}
