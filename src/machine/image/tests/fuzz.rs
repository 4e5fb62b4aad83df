use super::*;
use crate::model::tests::fuzz::Target;
use crate::model::wire::DecodeError;

fn decode<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Result<Machine, DecodeError> {
    let mut decoder = ImageDecoder::new();
    chunks.into_iter().try_for_each(|chunk| decoder.feed(chunk))?;
    decoder.finish()
}

fn encoded(machine: &Machine) -> Vec<u8> {
    machine.encode_image().flatten().collect()
}

#[test]
fn fuzz_image() {
    Target {
        name: "image",
        seeds: vec![encoded(&Machine::default()), encoded(&machine(3))],
        words: &["orders", "\u{4}", "\u{5}", "\u{7}", "\u{c}", "{\"queues\":4}"],
        // The last record says how many stand before it; with one that is right more images reach their end.
        repair: Some(|input| {
            for records in 0..60u8 {
                match decode([&input[..]]) {
                    Err(DecodeError { what: "an image with records missing", .. }) => {}
                    _ => return,
                }
                if let Some(last) = input.last_mut() {
                    *last = records;
                }
            }
        }),
        check: |input| {
            let machine = decode([input]).map_err(|error| error.what.to_owned())?;
            let written = encoded(&machine);
            let again = decode([&written[..]]).unwrap();
            // An image is read without being judged: two topics of one name, say, are read as a state that no log leads
            // to, and which of them is found by the name depends on the order of the records. A state that holds to the
            // machine's own rules is the same one after it was written.
            if machine.check().is_ok() {
                assert_eq!(machine.digest(), again.digest(), "the same state");
                assert_eq!(written, encoded(&again), "the same bytes");
            }
            // Settings are written with their defaults; nothing else grows.
            assert!(written.len() <= 32 * input.len() + 4_096, "{} bytes of {}", written.len(), input.len());
            Ok(())
        },
    }
    .run();
}
