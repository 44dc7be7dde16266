//! An actor in which something goes wrong.
driftwood::actor!(|message: Vec<u8>| -> driftwood::Result<()> {
    if message == b"fail" {
        panic!("no tide today");
    }
    driftwood::actor::reply(b"well")
});
