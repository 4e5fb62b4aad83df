//! What keeps a page of somebody else from sending our forms.
//!
//! The edge refuses whatever changes something and comes from a foreign origin (`src/api/browser.rs`). Here are two
//! more walls, for browsers that say nothing of an origin: the cookie is not sent along from other sites
//! (`SameSite=Strict`, RFC 6265bis), and every form carries a token that only a page of ours could read. The token is
//! made from the cookie with a secret of this node, so nothing is kept for a browser, and a form that was open over a
//! restart is taken.

use axum::http::{HeaderMap, HeaderValue, header};
use sha2::{Digest, Sha256};

use super::fields::Fields;

/// The cookie that forms are bound to.
const COOKIE: &str = "whimbrel_form";
/// The field that carries the token.
pub(super) const FIELD: &str = "token";
/// Digits of cookie and token: 128 bits.
const DIGITS: usize = 32;

/// Makes and checks tokens.
#[derive(Clone)]
pub(super) struct Csrf {
    secret: [u8; 32],
}

/// The token for the forms of one page.
#[derive(Clone, Debug)]
pub(super) struct FormToken {
    /// What stands in the field.
    pub(super) token: String,
    /// The cookie to set, for a browser that has none yet.
    pub(super) cookie: Option<HeaderValue>,
}

impl Csrf {
    /// With the secret of this node.
    pub(super) fn new(secret: [u8; 32]) -> Csrf {
        Csrf { secret }
    }

    /// The token for a page that answers a request with these headers.
    pub(super) fn token(&self, headers: &HeaderMap) -> FormToken {
        if let Some(known) = cookie_of(headers) {
            return FormToken { token: self.token_of(known), cookie: None };
        }
        let fresh = format!("{:0DIGITS$x}", rand::random::<u128>());
        // Digits are a header value.
        let cookie =
            HeaderValue::try_from(format!("{COOKIE}={fresh}; Path=/; HttpOnly; SameSite=Strict")).ok();
        FormToken { token: self.token_of(&fresh), cookie }
    }

    /// Whether a form was sent from a page of ours, to the same browser that it was given to.
    pub(super) fn admits(&self, headers: &HeaderMap, fields: &Fields) -> bool {
        // Browsers that know this header always send it; a form of another port or subdomain is "same-site".
        let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
        if site.is_some_and(|site| site != b"same-origin") {
            return false;
        }
        let (Some(known), Some(token)) = (cookie_of(headers), fields.raw(FIELD)) else { return false };
        are_equal(self.token_of(known).as_bytes(), token.as_bytes())
    }

    fn token_of(&self, cookie: &str) -> String {
        let digest = Sha256::new().chain_update(self.secret).chain_update(cookie.as_bytes()).finalize();
        digest.iter().take(DIGITS / 2).map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The one cookie of ours. With two of them somebody else set one, and none counts.
fn cookie_of(headers: &HeaderMap) -> Option<&str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let mut values = pairs.filter(|(name, _)| *name == COOKIE).map(|(_, value)| value);
    let value = values.next()?;
    let is_ours = value.len() == DIGITS && value.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_ours && values.next().is_none()).then_some(value)
}

/// Compares without telling by the time where the first difference is.
fn are_equal(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        pairs.collect()
    }

    fn form(token: &str) -> Fields {
        Fields::parse(&format!("{FIELD}={token}")).unwrap()
    }

    #[test]
    fn a_form_is_taken_from_the_browser_it_was_given_to() {
        let csrf = Csrf::new([1; 32]);
        let given = csrf.token(&headers(&[("cookie", "other=1")]));
        let cookie = given.cookie.unwrap().to_str().unwrap().to_owned();
        assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Strict"), "{cookie}");
        let pair = cookie.split(';').next().unwrap();
        let own = headers(&[("cookie", &format!("a=b; {pair}")), ("sec-fetch-site", "same-origin")]);
        assert!(csrf.admits(&own, &form(&given.token)));
        let again = csrf.token(&own);
        assert_eq!(
            (again.token, again.cookie.is_none()),
            (given.token.clone(), true),
            "one cookie for all pages"
        );
        assert!(
            csrf.admits(&headers(&[("cookie", pair)]), &form(&given.token)),
            "an old browser, or no browser"
        );
    }

    #[test]
    fn every_other_form_is_refused() {
        let csrf = Csrf::new([1; 32]);
        let given = csrf.token(&HeaderMap::new());
        let cookie = given.cookie.unwrap().to_str().unwrap().to_owned();
        let pair = cookie.split(';').next().unwrap();
        let with = |pairs: &[(&str, &str)], token: &str| csrf.admits(&headers(pairs), &form(token));
        assert!(with(&[("cookie", pair)], &given.token));
        assert!(!with(&[("cookie", pair)], ""), "no token");
        assert!(!csrf.admits(&headers(&[("cookie", pair)]), &Fields::default()), "no field");
        assert!(!with(&[], &given.token), "no cookie");
        assert!(!with(&[("cookie", pair)], &"0".repeat(DIGITS)), "another token");
        assert!(!with(&[("cookie", pair)], &given.token[..DIGITS - 1]), "a part of it");
        let twice = format!("{pair}; {pair}");
        assert!(!with(&[("cookie", &twice)], &given.token), "somebody set a second one");
        let foreign = format!("{COOKIE}={}", "0".repeat(DIGITS));
        assert!(!with(&[("cookie", &foreign)], &given.token), "another browser's");
        for site in ["cross-site", "same-site", "none"] {
            assert!(!with(&[("cookie", pair), ("sec-fetch-site", site)], &given.token), "{site}");
        }
        let admits = |secret| Csrf::new(secret).admits(&headers(&[("cookie", pair)]), &form(&given.token));
        assert!(admits([1; 32]), "after a restart");
        assert!(!admits([2; 32]), "another node");
    }
}
