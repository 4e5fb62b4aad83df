//! JSON objects, and nothing else: serde would also read a struct from a list of its fields in their order.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// A value that was written as a JSON object. A list of its fields is refused: it would mean something else as soon as
/// a field is added.
#[derive(Debug)]
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Object<T>, D::Error> {
        struct Fields<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = Object<T>;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }
        deserializer.deserialize_map(Fields(PhantomData))
    }
}

/// For `#[serde(deserialize_with)]`: an object.
///
/// # Errors
/// When it is none, or is refused itself.
pub fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Object::<T>::deserialize(deserializer).map(|Object(value)| value)
}

/// For `#[serde(deserialize_with)]`: a list of objects.
///
/// # Errors
/// When an element is no object, or is refused itself.
pub fn objects<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    let objects = Vec::<Object<T>>::deserialize(deserializer)?;
    Ok(objects.into_iter().map(|Object(value)| value).collect())
}

/// For `#[serde(deserialize_with)]`: an object, or `null` for none.
///
/// # Errors
/// When it is neither, or is refused itself.
pub fn maybe_object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let object = Option::<Object<T>>::deserialize(deserializer)?;
    Ok(object.map(|Object(value)| value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Pair {
        a: u8,
        #[serde(default)]
        b: u8,
    }

    #[derive(Debug, Deserialize)]
    struct Holder {
        #[serde(default, deserialize_with = "objects")]
        pairs: Vec<Pair>,
        #[serde(default, deserialize_with = "maybe_object")]
        pair: Option<Pair>,
        #[serde(default, deserialize_with = "object")]
        one: Pair,
    }

    #[test]
    fn a_list_of_fields_is_no_object() {
        let holder: Holder =
            serde_json::from_str(r#"{"pairs":[{"a":1},{"b":3,"a":2}],"pair":{"a":4},"one":{"a":5}}"#)
                .unwrap();
        let pairs: Vec<_> = holder.pairs.iter().chain(&holder.pair).map(|pair| (pair.a, pair.b)).collect();
        assert_eq!((pairs, holder.one.a), (vec![(1, 0), (2, 3), (4, 0)], 5));
        for bad in
            [r#"{"pairs":[[1,2]]}"#, r#"{"pair":[1,2]}"#, r#"{"one":[1,2]}"#, r#"{"pairs":[{"a":1,"c":2}]}"#]
        {
            assert!(serde_json::from_str::<Holder>(bad).is_err(), "{bad}");
        }
        assert!(serde_json::from_str::<Holder>(r#"{"pair":null}"#).unwrap().pair.is_none());
    }
}
