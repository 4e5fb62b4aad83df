//! Looking costs nothing that lasts: as long as nothing changes, nothing is decided and nothing is written.

use whimbrel::machine::Expected;
use whimbrel::model::alert::{AlertRule, Origin};

use crate::rig::{Rig, WATCHING, lag_rule, sample};

#[tokio::test(flavor = "multi_thread")]
async fn while_nothing_changes_nothing_is_decided() {
    let directory = tempfile::tempdir().unwrap();
    let mut rig = Rig::start(directory.path(), &WATCHING).await;
    rig.stuck_group(&["t1"]).await;
    rig.rule("Stuck", lag_rule(0)).await;
    rig.wait_for_alerts("Stuck", &[("t1", "firing")]).await;
    // How the disk of this machine does is not what is asked.
    let alerting = rig.broker().alerting();
    let built_in = alerting.rules().filter(|(_, placed)| placed.origin == Origin::BuiltIn);
    for (name, placed) in built_in {
        let off = AlertRule { enabled: false, ..AlertRule::clone(&placed.value) };
        rig.broker().put_alert_rule(name.clone(), off, Origin::Api, Expected::Anything).await.unwrap();
    }
    // Whatever that ended has ended by then.
    rig.wait_for_looks(3.0).await;
    let (rounds, last) = (rig.broker().rounds(), sample(&mut rig.calls, "whimbrel_raft_last_index").await);
    rig.wait_for_looks(5.0).await;
    assert_eq!(rig.broker().rounds(), rounds);
    let now = sample(&mut rig.calls, "whimbrel_raft_last_index").await;
    assert!((now - last).abs() < f64::EPSILON, "{last}, and then {now}");
    rig.node.stop().await;
}
