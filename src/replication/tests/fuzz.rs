use super::super::membership::{decode, decode_stored, encode, encode_stored};
use crate::model::tests::fuzz::{Target, same};

#[test]
fn fuzz_membership() {
    let stored = r#"{"version":1,"at":{"term":2,"leader":7,"index":3},"membership":{"version":1,"configs":[[7]],
        "nodes":{"7":{"address":"a:1"}}}}"#;
    let joint = r#"{"version":1,"configs":[[1,2],[2,3]],"nodes":{"1":{"address":"a:1"},"2":{"address":"b:1"},
        "3":{"address":"c:1"},"4":{"address":"d:1"}}}"#;
    Target {
        name: "membership",
        seeds: vec![joint.as_bytes().to_vec(), stored.as_bytes().to_vec()],
        words: &[
            "[",
            "]",
            "{",
            "}",
            ",",
            ":",
            "null",
            "\"configs\"",
            "\"nodes\"",
            "\"5\":{\"address\":\"\"}",
            "[]",
        ],
        repair: None,
        check: |input| {
            if let Ok(stored) = decode_stored(input) {
                same(&stored, &decode_stored(&encode_stored(&stored)).unwrap());
                return Ok(());
            }
            let membership = decode(input).map_err(|error| error.to_string())?;
            same(&membership, &decode(&encode(&membership)).unwrap());
            Ok(())
        },
    }
    .run();
}
