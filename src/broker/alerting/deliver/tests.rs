use super::*;
use crate::machine::{Draft, Machine};
use crate::model::alert::{Labels, ToldGroup};

fn at(seconds: u64) -> Timestamp {
    Timestamp(1_700_000_000_000 + seconds * 1_000)
}

fn notification(receiver: &str, group: &str) -> Arc<Notification> {
    Arc::new(Notification {
        receiver: receiver.to_owned(),
        group_key: format!("{receiver}/{group}"),
        group_labels: Labels::new(),
        alerts: Vec::new(),
        truncated: 0,
        created_at: at(0),
        delivery: Delivery { next_at: Some(at(0)), ..Delivery::default() },
    })
}

/// A state in which these wait, under the ids 1, 2, 3 …
fn waiting(queued: &[(&str, &str)]) -> Draft {
    let mut draft = Draft::new(&Machine::default(), at(0), Box::new(|| 7));
    let planned = queued.iter().map(|(receiver, group)| {
        (notification(receiver, group), ((*group).to_owned(), Arc::new(ToldGroup::default())))
    });
    assert_eq!(draft.notify(planned.collect(), Vec::new()), 0);
    draft
}

fn postpone(draft: &mut Draft, id: u64, seconds: u64) {
    let delivery = Delivery { attempts: 1, next_at: Some(at(seconds)), ..Delivery::default() };
    draft.attempted(NotificationId(id), delivery);
}

fn chosen(desk: &Desk, draft: &Draft, seconds: u64) -> (Vec<u64>, Option<Timestamp>) {
    let choice = desk.choose(draft.machine().alerting(), at(seconds));
    (choice.now.iter().map(|(id, _)| id.0).collect(), choice.next)
}

#[test]
fn each_receiver_has_one_at_a_time() {
    let draft = waiting(&[("a", "x"), ("a", "y"), ("b", "x")]);
    let mut desk = Desk::default();
    assert_eq!(chosen(&desk, &draft, 0), (vec![1, 3], None));
    desk.busy.insert("a".to_owned());
    assert_eq!(chosen(&desk, &draft, 0), (vec![3], None));
    desk.done("a".to_owned(), Outcome::Failed);
    assert_eq!(chosen(&desk, &draft, 0), (vec![1, 3], None));
}

#[test]
fn a_group_hears_things_in_their_order_and_does_not_hold_up_another() {
    let mut draft = waiting(&[("a", "x"), ("a", "x"), ("a", "y")]);
    postpone(&mut draft, 1, 30);
    assert_eq!(chosen(&Desk::default(), &draft, 0), (vec![3], Some(at(30))), "2 is behind 1");
    assert_eq!(chosen(&Desk::default(), &draft, 30), (vec![1], None));
}

#[test]
fn a_receiver_that_is_back_is_given_everything() {
    let mut draft = waiting(&[("a", "x"), ("a", "y"), ("b", "x")]);
    for id in 1..=3 {
        postpone(&mut draft, id, 3_600);
    }
    let mut desk = Desk::default();
    assert_eq!(chosen(&desk, &draft, 10), (vec![], Some(at(3_600))));
    desk.done("a".to_owned(), Outcome::Delivered);
    assert_eq!(chosen(&desk, &draft, 10), (vec![1], Some(at(3_600))));
    desk.done("a".to_owned(), Outcome::GivenUp);
    assert_eq!(chosen(&desk, &draft, 10).0, [1], "the notification was at fault");
    desk.done("a".to_owned(), Outcome::Failed);
    assert_eq!(chosen(&desk, &draft, 10).0, [0; 0]);
}

#[test]
fn no_more_are_under_way_than_there_are_places() {
    let names: Vec<String> = (0..POSTS_MAX + 5).map(|number| format!("r{number}")).collect();
    let queued: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "x")).collect();
    let draft = waiting(&queued);
    let mut desk = Desk::default();
    assert_eq!(chosen(&desk, &draft, 0).0.len(), POSTS_MAX);
    desk.busy.extend(names[..3].iter().cloned());
    assert_eq!(chosen(&desk, &draft, 0).0.len(), POSTS_MAX - 3);
}

#[test]
fn a_try_is_noted_with_what_comes_next() {
    let posted = |status, verdict| Posted {
        status: Some(status),
        excerpt: "x".to_owned(),
        verdict,
        retry_after_ms: Some(60_000),
    };
    let first = notification("a", "x");
    let (delivery, outcome) = after(&first, posted(200, Verdict::Delivered), at(1));
    assert_eq!((outcome, delivery.state(), delivery.attempts), (Outcome::Delivered, "delivered", 1));
    let (delivery, outcome) = after(&first, posted(503, Verdict::Again(String::new())), at(1));
    assert_eq!((outcome, delivery.next_at), (Outcome::Failed, Some(at(61))));
    let (delivery, outcome) = after(&first, posted(400, Verdict::Never(String::new())), at(1));
    assert_eq!((outcome, delivery.state(), delivery.status), (Outcome::GivenUp, "failed", Some(400)));
    let day = GIVE_UP_AFTER_MS / 1_000;
    let (_, late) = after(&first, posted(503, Verdict::Again(String::new())), at(day - 1));
    let (_, too_late) = after(&first, posted(503, Verdict::Again(String::new())), at(day));
    assert_eq!((late, too_late), (Outcome::Failed, Outcome::GivenUp));
    let over = Delivery { last_at: Some(at(day)), ..Delivery::default() };
    let again = Notification { delivery: over.again(at(9 * day)), ..(*first).clone() };
    let (_, late) = after(&again, posted(503, Verdict::Again(String::new())), at(10 * day - 1));
    let (_, too_late) = after(&again, posted(503, Verdict::Again(String::new())), at(10 * day));
    assert_eq!((late, too_late), (Outcome::Failed, Outcome::GivenUp), "a day from when it was wanted again");
}

/// Tries a notification at a time, and answers for how many seconds its receiver fails then.
fn try_at(draft: &mut Draft, id: u64, seconds: u64, verdict: Verdict) -> u64 {
    let id = NotificationId(id);
    let posted = Posted { status: None, excerpt: String::new(), verdict, retry_after_ms: None };
    let tried = Arc::clone(draft.machine().alerting().notification(id).unwrap());
    draft.attempted(id, after(&tried, posted, at(seconds)).0);
    fails_for(draft, seconds)
}

fn fails_for(draft: &Draft, seconds: u64) -> u64 {
    super::super::tell::failing_ms(draft.machine().alerting(), "a", at(seconds)) / 1_000
}

/// Somebody wants it sent again at that time.
fn send_again(draft: &mut Draft, id: u64, seconds: u64) -> Draft {
    let mut later = Draft::new(draft.machine(), at(seconds), Box::new(|| 7));
    later.redeliver(NotificationId(id)).unwrap();
    later
}

#[test]
fn sending_again_what_arrived_does_not_make_its_receiver_look_as_if_it_had_failed_before() {
    let refused = || Verdict::Again(String::new());
    let mut draft = waiting(&[("a", "x"), ("a", "y")]);
    assert_eq!(try_at(&mut draft, 1, 10, Verdict::Never(String::new())), 10, "the first never arrives");
    assert_eq!(try_at(&mut draft, 2, 20, Verdict::Delivered), 0);
    let mut draft = send_again(&mut draft, 2, 1_000);
    assert_eq!(fails_for(&draft, 1_001), 0, "it was not tried yet");
    assert_eq!(try_at(&mut draft, 2, 1_002, refused()), 2, "it fails since this was wanted");
    let mut draft = send_again(&mut draft, 2, 1_050);
    assert_eq!(fails_for(&draft, 1_050), 50, "wanting it once more changes nothing");
    assert_eq!(try_at(&mut draft, 2, 1_100, refused()), 100);
    assert_eq!(try_at(&mut draft, 2, 1_200, Verdict::Delivered), 0);
}

#[test]
fn sending_again_what_never_arrived_leaves_its_receiver_failing_since_it_did() {
    let mut draft = waiting(&[("a", "x")]);
    assert_eq!(try_at(&mut draft, 1, 10, Verdict::Never(String::new())), 10);
    let mut draft = send_again(&mut draft, 1, 1_000);
    assert_eq!(fails_for(&draft, 1_001), 1_001);
    assert_eq!(try_at(&mut draft, 1, 1_002, Verdict::Again(String::new())), 1_002);
}

#[test]
fn sending_again_what_was_given_up_counts_from_then_once_its_receiver_took_something() {
    let mut draft = waiting(&[("a", "x"), ("a", "y")]);
    assert_eq!(try_at(&mut draft, 1, 10, Verdict::Never(String::new())), 10);
    assert_eq!(try_at(&mut draft, 2, 20, Verdict::Delivered), 0);
    let mut draft = send_again(&mut draft, 1, 1_000);
    assert_eq!(fails_for(&draft, 1_001), 0, "it was not tried yet");
    assert_eq!(try_at(&mut draft, 1, 1_002, Verdict::Again(String::new())), 2);
    let mut draft = send_again(&mut draft, 1, 1_050);
    assert_eq!(try_at(&mut draft, 1, 1_100, Verdict::Never(String::new())), 100, "since it was wanted first");
}
