//! Who may use a context while the device generates on it, and behind that; see test_ahead. What
//! borrows forbid is done by forgetting.
use driftwood::{raw, Context, Model, Params, Request, Result, Sampler};

fn code<T>(result: Result<T>) -> i32 {
    result.err().map_or(0, |error| error.code)
}

fn main() -> Result<()> {
    let model = Model::open("")?;
    let mut sampler = Sampler::new(&model, Params::default())?;
    let mut context = Context::new(&model, 64)?;
    let prompt = model.tokenize("The sea")?;
    core::mem::forget(context.generate(&mut sampler, &prompt, Request::new(8))?);
    let again = code(context.generate(&mut sampler, &prompt, Request::new(8)).map(|_| ()));
    println!(
        "taken {} {} {} {} {}",
        code(context.fork()),
        code(context.trim(0)),
        code(context.append(&prompt)),
        again,
        code(sampler.accept(1))
    );
    unsafe { raw::generate_end(context.handle()) };
    context.trim(0)?;
    let mut one = context.generate(&mut sampler, &prompt, Request::new(8))?;
    while one.why().is_none() {
        one.wait()?;
    }
    println!("ended {} {} {}", one.tokens().len(), one.end()?, one.wait()?);
    drop(one);
    let (forked, trimmed) = (code(context.fork()), code(context.trim(2)));
    print!("free {} {} {}", forked, trimmed, code(context.append(&prompt)));
    let other = context.generate(&mut sampler, &prompt, Request::new(8))?;
    println!(", again 8 {}", other.why().is_some());
    core::mem::forget(other);
    let handle = context.handle();
    drop(context);
    println!("closing 0, then {}", unsafe { raw::context_length(handle) });
    let closed = core::mem::ManuallyDrop::new(Context::from_handle(handle, &model));
    println!("closed 0, then {} {}", code(closed.fork()), unsafe { raw::context_trim(handle, 0) });
    Ok(())
}
