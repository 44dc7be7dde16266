//! An actor in which something goes wrong.
driftwood::actor!(|message: Vec<u8>| -> driftwood::Result<()> {
    if message == b"fail" {
        panic!("no tide today");
    }
    if message[0] == b'=' {
        return driftwood::actor::reply(&driftwood::call("echo", &message[1..])?);
    }
    driftwood::actor::reply(b"well")
});
