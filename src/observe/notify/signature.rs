//! Signatures: Standard Webhooks 1.0.0 (<https://www.standardwebhooks.com>), and the HMAC that robots use.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::model::Timestamp;

/// What a secret starts with.
const PREFIX: &str = "whsec_";

/// How many bytes a key has, after the standard.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// The secret cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a webhook secret is whsec_ and then 24 to 64 random bytes in base64; `openssl rand -base64 32` makes them"
)]
pub struct SecretError;

/// The key in a secret.
///
/// # Errors
/// It is not one of [`SecretError`]'s shape.
pub fn signing_key(secret: &str) -> Result<Vec<u8>, SecretError> {
    let key = STANDARD.decode(secret.strip_prefix(PREFIX).ok_or(SecretError)?).map_err(|_| SecretError)?;
    if KEY_BYTES.contains(&key.len()) { Ok(key) } else { Err(SecretError) }
}

/// The signature of one try: `v1,` and the base64 of HMAC-SHA256 over `id.seconds.body`.
#[must_use]
pub fn sign(key: &[u8], id: &str, seconds: u64, body: &[u8]) -> String {
    let head = format!("{id}.{seconds}.");
    format!("v1,{}", hmac_base64(key, &[head.as_bytes(), body]))
}

/// The three headers of one try. Several secrets with spaces between them, for the time in which one is exchanged for
/// another, make several signatures.
pub(super) fn headers(
    secrets: &str,
    id: &str,
    now: Timestamp,
    body: &[u8],
) -> Result<[(&'static str, String); 3], SecretError> {
    let seconds = now.0 / 1_000;
    let keys = secrets.split_ascii_whitespace().map(signing_key);
    let signatures = keys.map(|key| Ok(sign(&key?, id, seconds, body)));
    let signatures: Vec<String> = signatures.collect::<Result<_, SecretError>>()?;
    Ok([
        ("webhook-id", id.to_owned()),
        ("webhook-timestamp", seconds.to_string()),
        ("webhook-signature", signatures.join(" ")),
    ])
}

/// Base64 of the HMAC-SHA256 of `parts`, one behind the other.
pub(super) fn hmac_base64(key: &[u8], parts: &[&[u8]]) -> String {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        unreachable!("HMAC takes keys of any length");
    };
    parts.iter().for_each(|part| mac.update(part));
    STANDARD.encode(mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;

    /// The example that the libraries of Standard Webhooks are tested with.
    #[test]
    fn the_published_example_comes_out() {
        let key = signing_key(SECRET).unwrap();
        let signature = sign(&key, ID, 1_614_265_330, BODY);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        for other in [sign(&key, "msg_x", 1_614_265_330, BODY), sign(&key, ID, 1_614_265_331, BODY)] {
            assert_ne!(other, signature);
        }
    }

    /// RFC 4231, test case 2.
    #[test]
    fn the_hmac_is_that_of_the_rfc() {
        let found = hmac_base64(b"Jefe", &[b"what do ya want ", b"for nothing?"]);
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        let bytes = (0..32).map(|at| u8::from_str_radix(&expected[2 * at..2 * at + 2], 16).unwrap());
        assert_eq!(STANDARD.decode(found).unwrap(), bytes.collect::<Vec<u8>>());
    }

    #[test]
    fn two_secrets_sign_twice() {
        let other = format!("whsec_{}", STANDARD.encode([7; 24]));
        let both = headers(&format!("{SECRET} {other}"), ID, Timestamp(1_614_265_330_999), BODY).unwrap();
        let [(_, id), (_, seconds), (_, signatures)] = both;
        assert_eq!((id.as_str(), seconds.as_str()), (ID, "1614265330"));
        let second = sign(&[7; 24], ID, 1_614_265_330, BODY);
        assert_eq!(signatures, format!("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE= {second}"));
    }

    #[test]
    fn a_weak_or_foreign_secret_is_refused() {
        let short = format!("whsec_{}", STANDARD.encode([1; 23]));
        let long = format!("whsec_{}", STANDARD.encode([1; 65]));
        for bad in ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_???", &short, &long] {
            assert_eq!(signing_key(bad), Err(SecretError), "{bad}");
        }
    }
}
