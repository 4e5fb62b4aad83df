use super::*;
use crate::model::tests::fuzz::{Target, same};

fn encoded(fact: &Fact) -> Bytes {
    let mut out = BytesMut::new();
    put_fact(&mut out, fact);
    out.freeze()
}

#[test]
fn fuzz_fact() {
    Target {
        name: "fact",
        seeds: samples().iter().map(|fact| encoded(fact).to_vec()).collect(),
        words: &["{\"queues\":4}", "{\"subscriptions\":[]}", "orders", "\u{1}", "\u{7f}", "eu || us"],
        repair: None,
        check: |input| {
            let bytes = Bytes::copy_from_slice(input);
            // What reads only a part of a fact reads the same, or nothing.
            let message = decode_message(&bytes);
            let fact = Fact::decode(&bytes).map_err(|error| error.what.to_owned())?;
            let again = encoded(&fact);
            same(&fact, &Fact::decode(&again).unwrap());
            if let Fact::Produced(produced) = &fact {
                let (read, _) = message.unwrap();
                assert_eq!(read, *produced.message);
            }
            // Nothing is made up: JSON writes defaults out, numbers and lists do not grow.
            assert!(again.len() <= input.len() + 2_048, "{} bytes of {}", again.len(), input.len());
            Ok(())
        },
    }
    .run();
}

#[test]
fn fuzz_batch() {
    // Parts with their lengths before them, as a log would have them with its checksums right.
    fn parts(mut input: &[u8]) -> Vec<Bytes> {
        let mut parts = Vec::new();
        while let Some((length, rest)) = input.split_first_chunk::<2>() {
            let (part, rest) = rest.split_at(rest.len().min(usize::from(u16::from_le_bytes(*length))));
            parts.push(Bytes::copy_from_slice(part));
            input = rest;
        }
        parts
    }
    let batch = |facts: Vec<Fact>| {
        let batch = Batch { base: 41, time: Timestamp(1_700_000_000_000), facts };
        let framed = batch.encode().into_iter().flat_map(|part| {
            let length = u16::try_from(part.len()).unwrap().to_le_bytes();
            length.into_iter().chain(part).collect::<Vec<u8>>()
        });
        framed.collect::<Vec<u8>>()
    };
    Target {
        name: "batch",
        seeds: vec![batch(Vec::new()), batch(samples())],
        words: &["\u{0}\u{0}", "\u{1}\u{0}\u{1}"],
        repair: None,
        check: |input| {
            let parts = parts(input);
            let batch = Batch::decode(&parts).map_err(|error| error.what.to_owned())?;
            same(&batch, &Batch::decode(&batch.encode()).unwrap());
            Ok(())
        },
    }
    .run();
}
