//! How memberships stand in the log and in images: versioned JSON.
//!
//! ```text
//! in the log    {"version":1,"configs":[[1,2,3]],"nodes":{"1":{"address":"10.0.0.1:7000"}, …}}
//! in an image   {"version":1,"at":{"term":1,"leader":1,"index":0},"membership":{ as in the log }}
//! ```
//! `configs` has two sets while a change of voters is under way. `at` is null before the first membership entry.
//! Unknown fields are refused: a newer version must say so in `version`.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use openraft::BasicNode;
use serde::{Deserialize, Serialize};

use super::types::{Membership, StoredMembership, log_id};

const VERSION: u32 = 1;

/// A membership that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum MembershipError {
    /// It is not what this version writes.
    #[error("membership is not valid JSON of version {VERSION}: {0}")]
    Json(#[from] serde_json::Error),
    /// A newer version wrote it.
    #[error("membership has version {0}, this program reads {VERSION}; use the newer program")]
    Version(u32),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MembershipJson {
    version: u32,
    configs: Vec<BTreeSet<u64>>,
    nodes: BTreeMap<u64, NodeJson>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeJson {
    address: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredJson {
    version: u32,
    at: Option<LogIdJson>,
    membership: MembershipJson,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LogIdJson {
    term: u64,
    leader: u64,
    index: u64,
}

impl From<&Membership> for MembershipJson {
    fn from(membership: &Membership) -> MembershipJson {
        let nodes = membership.nodes().map(|(id, node)| (*id, NodeJson { address: node.addr.clone() }));
        MembershipJson {
            version: VERSION,
            configs: membership.get_joint_config().clone(),
            nodes: nodes.collect(),
        }
    }
}

impl MembershipJson {
    fn into_membership(self) -> Result<Membership, MembershipError> {
        if self.version != VERSION {
            return Err(MembershipError::Version(self.version));
        }
        let nodes: BTreeMap<u64, BasicNode> =
            self.nodes.into_iter().map(|(id, node)| (id, BasicNode::new(node.address))).collect();
        Ok(Membership::new(self.configs, nodes))
    }
}

pub(super) fn encode(membership: &Membership) -> Bytes {
    to_bytes(&MembershipJson::from(membership))
}

pub(super) fn decode(bytes: &[u8]) -> Result<Membership, MembershipError> {
    serde_json::from_slice::<MembershipJson>(bytes)?.into_membership()
}

pub(super) fn encode_stored(stored: &StoredMembership) -> Bytes {
    let at = stored.log_id().map(|id| LogIdJson {
        term: id.leader_id.term,
        leader: id.leader_id.node_id,
        index: id.index,
    });
    to_bytes(&StoredJson { version: VERSION, at, membership: stored.membership().into() })
}

pub(super) fn decode_stored(bytes: &[u8]) -> Result<StoredMembership, MembershipError> {
    let stored = serde_json::from_slice::<StoredJson>(bytes)?;
    if stored.version != VERSION {
        return Err(MembershipError::Version(stored.version));
    }
    let at = stored.at.map(|id| log_id(id.index, id.term, id.leader));
    Ok(StoredMembership::new(at, stored.membership.into_membership()?))
}

/// Structs of numbers and text with text keys always serialize; an empty value would be refused by the reader.
fn to_bytes(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).map(Bytes::from).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joint() -> Membership {
        let nodes =
            (1..=4).map(|id| (id, BasicNode::new(format!("10.0.0.{id}:7000")))).collect::<BTreeMap<_, _>>();
        Membership::new(vec![BTreeSet::from([1, 2]), BTreeSet::from([2, 3])], nodes)
    }

    #[test]
    fn golden_bytes() {
        let one = Membership::new(vec![BTreeSet::from([7])], BTreeMap::from([(7, BasicNode::new("a:1"))]));
        let text = r#"{"version":1,"configs":[[7]],"nodes":{"7":{"address":"a:1"}}}"#;
        assert_eq!(encode(&one), text);
        let stored = StoredMembership::new(Some(log_id(3, 2, 7)), one);
        let text = format!(r#"{{"version":1,"at":{{"term":2,"leader":7,"index":3}},"membership":{text}}}"#);
        assert_eq!(encode_stored(&stored), text);
    }

    #[test]
    fn round_trip() {
        assert_eq!(decode(&encode(&joint())).unwrap(), joint());
        for at in [None, Some(log_id(9, 4, 2))] {
            let stored = StoredMembership::new(at, joint());
            assert_eq!(decode_stored(&encode_stored(&stored)).unwrap(), stored);
        }
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        assert!(matches!(
            decode(br#"{"version":2,"configs":[],"nodes":{}}"#),
            Err(MembershipError::Version(2))
        ));
        assert!(decode(br#"{"version":1,"configs":[],"nodes":{},"more":1}"#).is_err());
        assert!(decode(b"").is_err());
    }
}
