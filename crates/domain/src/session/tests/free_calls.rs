use super::*;

#[test]
fn what_runs_no_model_takes_a_place_in_the_minute_and_in_flight_and_nothing_else() {
    let (mut session, _) = Session::restore(Stored::default(), 0);
    let limits = limits(3, 2);
    let free = |id: &str, project: &str| {
        let mut message = Admit { is_free: true, ..admit(id) };
        message.entry.project = project.to_owned();
        message
    };
    let (admission, changes) = session.admit(free("a", "one"), limits, 0);
    assert_eq!(reason(&admission), None);
    let opened = changes.iter().find_map(|change| match change {
        Change::Open { entry, .. } => Some(entry.month),
        _ => None,
    });
    assert_eq!(opened, Some(None), "its row counts in no month");
    assert!(!changes.iter().any(|change| matches!(change, Change::Projects(_))));
    assert_eq!(session.tally.of(Month::of(0)).requests, 0);
    let (_, changes) = session.settle(
        Settle {
            request_id: "a".to_owned(),
            outcome: Outcome { tokens_est: 1_500, ..Outcome::answered(200, 7) },
        },
        0,
    );
    let tokens = changes.iter().find_map(|change| match change {
        Change::Close { outcome, .. } => outcome.as_ref().map(|outcome| outcome.tokens_est),
        _ => None,
    });
    assert_eq!(tokens, Some(0), "what was read had been paid for");
    assert_eq!(session.tally.of(Month::of(0)).requests, 0);
    for (id, expected) in [("b", false), ("c", false), ("d", true)] {
        let (admission, _) = session.admit(free(id, "two"), limits, 1);
        assert_eq!(reason(&admission).is_some(), expected, "{id}: {admission:?}");
        session.settle(settle(id), 1);
    }
}
