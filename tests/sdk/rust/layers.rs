//! What tests/guest/layers.c says, by this SDK.
use driftwood::{forward_many, Context, Model, Params, Pooling, Sampler, Step, Tree};

const PROMPT: [i32; 6] = [504, 3575, 282, 4649, 314, 260];

fn told(row: &[f32]) -> String {
    let mut best = 0;
    for i in 1..row.len() {
        if row[i] > row[best] {
            best = i;
        }
    }
    format!(" {}:{}", best, row[best].to_bits())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let model = Model::open("")?;
    let vocab = model.info().vocab_count as usize;
    let mut context = Context::new(&model, 64)?;
    context.append(&PROMPT)?;

    let draft = [10, 20, 30, 40, 50, 60];
    let mut rows = driftwood::Buffer::new(6 * vocab);
    let parents = [-1, 0, 0, 1, 2, -1];
    context.forward_tree(
        &Tree { tokens: &draft, parents: Some(&parents), ..Default::default() },
        &mut rows,
    )?;
    print!("tree");
    for row in rows.chunks(vocab) {
        print!("{}", told(row));
    }
    let refused = context.keep(&[3, 1]).is_err();
    print!("\nkept {}", context.keep(&[0, 1, 3])?);
    let mut row = driftwood::Buffer::new(vocab);
    context.forward(&[70], &mut row)?;
    print!("{}", told(&row));
    let mut masked = Context::new(&model, 32)?;
    masked.append(&PROMPT[..3])?;
    let mask = [1, 1, 1, 1, 0, 0, 1, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 1];
    let tree = Tree {
        tokens: &draft[..3],
        positions: Some(&[3, 4, 3]),
        mask: Some(&mask),
        ..Default::default()
    };
    masked.forward_tree(&tree, &mut rows[..2 * vocab])?;
    print!("\nmask{}{}", told(&rows[..vocab]), told(&rows[vocab..2 * vocab]));
    let short = Tree { tokens: &draft, parents: Some(&parents[..1]), ..Default::default() };
    let refused = refused && masked.forward_tree(&short, &mut []).is_err();
    println!(" {}", if refused { "refused" } else { "taken" });

    let mut sampler = Sampler::new(&model, Params::default())?;
    let (mut second, mut third) = (context.fork()?, context.fork()?);
    let mut steps = [
        Step::new(&mut context, &[80]),
        Step::new(&mut second, &[81, 82]).sample(&mut sampler),
        Step::new(&mut third, &[83]),
    ];
    steps[0].rows = 1;
    steps[1].top_count = 3;
    steps[2].rows = 1;
    steps[2].hidden = true;
    let through = forward_many(&mut steps)?;
    let [first, second, third] = &steps;
    let top = second.top.as_ref().ok_or("no top")?;
    let length = first.result.as_ref().map_err(|err| err.to_string())?;
    println!(
        "many {through} {length}{} {} {} {} {} {} {} {}",
        told(&first.row_data),
        second.token.ok_or("no token")?,
        second.log_probability.to_bits(),
        top.tokens[0],
        top.tokens[1],
        top.tokens[2],
        top.log_probabilities[2].to_bits(),
        third.row_data[1].to_bits()
    );

    let mut fork = context.fork()?;
    let leaves = Tree { tokens: &[20, 30, 40], parents: Some(&[-1, 0, 0]), ..Default::default() };
    let mut steps = [Step::tree(&mut context, leaves, 3), Step::new(&mut fork, &[84])];
    steps[1].rows = 1;
    print!("steps {}", forward_many(&mut steps)?);
    for i in 0..3 {
        print!("{}", told(&steps[0].row_data[i * vocab..(i + 1) * vocab]));
    }
    let length = steps[1].result.as_ref().map_err(|err| err.to_string())?;
    print!("{} {length}", told(&steps[1].row_data));
    println!(" {}", context.keep(&[0, 2])?);

    let embeddings = model.token_embeddings(&PROMPT)?;
    let mut fresh = Context::new(&model, 32)?;
    let length = fresh.forward_embeddings(&embeddings, &mut row)?;
    let last = embeddings.len() - 1;
    println!(
        "rows {} {} {} {length}{}",
        embeddings.len(),
        embeddings[0].to_bits(),
        embeddings[last].to_bits(),
        told(&row)
    );
    let one = model.embed(&PROMPT, Pooling::Model)?;
    let mut all = driftwood::Buffer::new(embeddings.len());
    model.embed_into(&PROMPT, Pooling::None, 0, &mut all)?;
    println!(
        "embed {} {} {} {} {}",
        one.len(),
        one[0].to_bits(),
        one[one.len() - 1].to_bits(),
        all[0].to_bits(),
        all[last].to_bits()
    );
    Ok(())
}
