//! A failed test's report, which is all that a log of CI has.

use gateway_tests::{Options, report};

use crate::answer::answer;
use crate::runner::Test;
use crate::{shared, tests};

pub fn tests() -> Vec<Test> {
    tests![Ordinary: a_failure_is_told_with_its_place_and_its_gateways_last_lines]
}

async fn a_failure_is_told_with_its_place_and_its_gateways_last_lines() {
    let fails = async {
        // Of its own: others' lines would come behind what is looked for.
        let pair = shared::pair(Options::new().var("USER_BINDING", "open")).await;
        let gateway = &pair.gateway;
        let passed = answer(gateway.get("ada", "/v1/models")).await;
        let id = passed.request_id();
        gateway.log_line(id).await;
        panic!("on purpose, after {id}");
    };
    let told = report::run(fails).await.unwrap_err();
    let (first, rest) = told.split_once('\n').unwrap();
    assert!(first.starts_with("tests/suite/report.rs:"), "{told}");
    let (_, id) = first.split_once("on purpose, after ").unwrap();
    assert!(rest.starts_with("its gateway's last lines, of "), "{told}");
    assert!(rest.contains(id), "{told}");
    assert!(report::run(async {}).await.is_ok());
}
