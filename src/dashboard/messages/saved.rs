//! Saved filters: names for searches, kept in a cookie of the browser, so that they need no script and no account.

use crate::dashboard::fields::{Fields, encoded};

/// The cookie. Only sent to `/messages`.
pub(super) const COOKIE: &str = "whimbrel_searches";
/// Most filters that are kept; one more takes the place of the oldest.
const SAVED_MAX: usize = 12;
/// Longest name, in characters.
const NAME_CHARS_MAX: usize = 40;
/// Most bytes of the cookie; browsers take 4,096 with its name and attributes.
const COOKIE_BYTES_MAX: usize = 3_500;

/// A name for a search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SavedSearch {
    pub(super) name: String,
    /// Its address, which begins with `/messages?`.
    pub(super) address: String,
}

/// The saved searches of a request: what its Cookie header holds of them. Rubbish is no search.
pub(super) fn saved_in(cookies: &str) -> Vec<SavedSearch> {
    let pairs = cookies.split(';').filter_map(|pair| pair.trim().split_once('='));
    let value = pairs.filter(|(name, _)| *name == COOKIE).map(|(_, value)| value).next().unwrap_or_default();
    // Name and query of each are encoded, so that only what parts them stands between.
    let searches = value.split('&').filter_map(|pair| pair.split_once('=')).filter_map(|(name, query)| {
        let one = Fields::parse(&format!("name={name}&query={query}"))?;
        let (name, query) = (one.one("name")?.to_owned(), one.one("query")?);
        // Made anew from its fields, so that it leads nowhere else whatever the cookie holds.
        let form = super::search::SearchForm::of(&Fields::parse(query)?);
        Some(SavedSearch { name, address: form.address(None) })
    });
    searches.take(SAVED_MAX).collect()
}

/// The cookie that keeps `saved`, with `name` for the search at `address` in front; none when that search is longer
/// than a cookie. The oldest make room.
pub(super) fn with(saved: &[SavedSearch], name: &str, address: &str) -> Option<String> {
    let name: String =
        name.trim().chars().filter(|letter| !letter.is_control()).take(NAME_CHARS_MAX).collect();
    let new = SavedSearch { name: name.clone(), address: address.to_owned() };
    if pair_of(&new).len() >= COOKIE_BYTES_MAX {
        return None;
    }
    let mut all = vec![new];
    all.extend(saved.iter().filter(|one| one.name != name).cloned());
    all.truncate(SAVED_MAX);
    Some(cookie(&all))
}

/// The cookie that keeps `saved` without the one of that name.
pub(super) fn without(saved: &[SavedSearch], name: &str) -> String {
    cookie(&saved.iter().filter(|one| one.name != name).cloned().collect::<Vec<_>>())
}

fn pair_of(one: &SavedSearch) -> String {
    let query = one.address.split_once('?').map_or("", |(_, query)| query);
    format!("{}={}", encoded(&one.name), encoded(query))
}

fn cookie(saved: &[SavedSearch]) -> String {
    let mut value = String::new();
    for one in saved {
        let pair = pair_of(one);
        // One that is too long takes none of the others with it.
        if value.len() + pair.len() + 1 > COOKIE_BYTES_MAX {
            continue;
        }
        if !value.is_empty() {
            value.push('&');
        }
        value.push_str(&pair);
    }
    format!("{COOKIE}={value}; Path=/messages; Max-Age=31536000; HttpOnly; SameSite=Strict")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(cookie: &str) -> Vec<SavedSearch> {
        saved_in(&format!("other=1; {}; last=2", cookie.split(';').next().unwrap()))
    }

    #[test]
    fn what_is_saved_is_read_back_the_newest_first() {
        let one = with(&[], "Ünpaid & <late>", "/messages?topic=orders&key=a%26b").unwrap();
        assert!(one.ends_with("; Path=/messages; Max-Age=31536000; HttpOnly; SameSite=Strict"), "{one}");
        let two = with(&read(&one), "two", "/messages?topic=refunds&contains=%3Cb%3E").unwrap();
        let saved = read(&two);
        assert_eq!(saved.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["two", "Ünpaid & <late>"]);
        assert_eq!(saved[1].address, "/messages?topic=orders&key=a%26b");
        assert_eq!(read(&with(&saved, "two", "/messages?topic=x").unwrap()).len(), 2, "a name is kept once");
        let left = read(&without(&saved, "two"));
        assert_eq!(left.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["Ünpaid & <late>"]);
    }

    #[test]
    fn a_cookie_is_bounded_and_rubbish_leads_nowhere() {
        let mut cookie = String::new();
        for number in 0..40 {
            let long = format!("/messages?topic=t&contains={}", "x".repeat(300));
            cookie = with(&read(&cookie), &format!("number {number}"), &long).unwrap();
        }
        assert!(cookie.len() < 4_000, "{}", cookie.len());
        assert_eq!(read(&cookie)[0].name, "number 39", "the oldest goes");
        let longest = format!("/messages?topic=t&contains={}", "x".repeat(COOKIE_BYTES_MAX));
        assert_eq!(with(&read(&cookie), "longest", &longest), None);
        for rubbish in ["a", "a=", "=", "a=%FF", "%FF=a", "&&&", "a=%2Fevil"] {
            for one in saved_in(&format!("{COOKIE}={rubbish}")) {
                assert!(one.address.starts_with("/messages"), "{rubbish}: {}", one.address);
            }
        }
        let hostile = saved_in(&format!("{COOKIE}=x=topic%3D%2522%253E%253Cscript%253E"));
        assert_eq!(hostile[0].address, "/messages?topic=%22%3E%3Cscript%3E");
    }
}
