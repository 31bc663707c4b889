use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const DAY: Millis = 24 * 60 * 60 * 1_000;

fn ada() -> UserId {
    UserId::parse("ada").unwrap()
}

fn code(number: u8) -> ClaimCode {
    ClaimCode::mint([number, 0, 0, 0, number])
}

fn hash(number: u8) -> Fingerprint {
    code(number).fingerprint(&ada())
}

fn redeem(codes: &mut [CodeRecord], shown: &Fingerprint, now: Millis) -> Worth {
    let worth = judge(codes, shown, now);
    if worth == Worth::Good {
        use_up(codes, shown);
    }
    worth
}

#[test]
fn the_format_is_pinned() {
    assert_eq!(ClaimCode::mint([0; 5]).expose(), "0000-0000");
    assert_eq!(ClaimCode::mint([255; 5]).expose(), "ZZZZ-ZZZZ");
    assert_eq!(ClaimCode::mint([0x00, 0x44, 0x32, 0x14, 0xc7]).expose(), "0123-4567");
    // printf 3:ada8:01234567 | sha256sum
    let record = CodeRecord::open(
        ClaimCode::parse("0123-4567").unwrap().fingerprint(&ada()),
        1_700_000_000_000,
    );
    assert_eq!(
        serde_json::to_string(&record).unwrap(),
        "{\"hash\":\"07c850cf13d05d7d1571a27f1af27b3b6f851c7d84c8680abab4d1fe76f989a0\",\
         \"expires_at\":1700000000000,\"wrong\":0,\"state\":\"open\"}"
    );
}

#[test]
fn what_a_person_types_is_read_forgivingly() {
    let same = ["0123-ABCD", "0123abcd", " 0123 abcd\n", "o1-23–AB−CD", "OL23 - aBcD", "oi23abcd"];
    for text in same {
        let code = ClaimCode::parse(text).unwrap_or_else(|| panic!("{text}"));
        assert_eq!(code.expose(), "0123-ABCD", "{text}");
    }
    for wrong in ["", "0123-ABC", "0123-ABCDE", "0123-ABCU", "0123_ABCD", "0123-ABC\u{e9}", "----"]
    {
        assert!(ClaimCode::parse(wrong).is_none(), "{wrong}");
    }
}

#[test]
fn a_code_means_something_for_one_user_alone() {
    let [ada, bob] = ["ada", "bob"].map(|name| UserId::parse(name).unwrap());
    let code = ClaimCode::mint([7; 5]);
    assert!(code.fingerprint(&ada) == code.fingerprint(&ada));
    assert!(code.fingerprint(&ada) != code.fingerprint(&bob));
}

#[test]
fn a_code_is_good_once_and_until_it_expires() {
    let mut codes = vec![CodeRecord::open(hash(1), DAY), CodeRecord::open(hash(2), DAY)];
    assert_eq!(redeem(&mut codes, &hash(3), 0), Worth::Invalid);
    assert_eq!(redeem(&mut codes, &hash(1), DAY - 1), Worth::Good);
    assert_eq!(redeem(&mut codes, &hash(1), DAY - 1), Worth::Used);
    assert_eq!(redeem(&mut codes, &hash(2), DAY), Worth::Expired);
    // Who used a code hears so however old it is.
    assert_eq!(redeem(&mut codes, &hash(1), 2 * DAY), Worth::Used);
}

#[test]
fn fifty_wrong_guesses_kill_what_is_open_then() {
    let mut codes = vec![CodeRecord::open(hash(1), DAY)];
    (0..49).for_each(|_| count_wrong(&mut codes, 0));
    issue(&mut codes, CodeRecord::open(hash(2), DAY));
    assert_eq!(judge(&codes, &hash(1), 0), Worth::Good);
    count_wrong(&mut codes, 0);
    assert_eq!(judge(&codes, &hash(1), 0), Worth::Expired);
    assert_eq!(judge(&codes, &hash(2), 0), Worth::Good);
    (0..49).for_each(|_| count_wrong(&mut codes, 0));
    assert_eq!(judge(&codes, &hash(2), 0), Worth::Expired);
    assert!(!is_any_good(&codes, 0), "nothing is left to be written");
    count_wrong(&mut codes, 0);
    assert_eq!(codes[0].wrong, 50);
}

#[test]
fn a_new_code_in_place_of_the_old_leaves_the_old_one_no_good() {
    let mut codes = vec![CodeRecord::open(hash(1), DAY), CodeRecord::open(hash(2), DAY)];
    redeem(&mut codes, &hash(1), 0);
    void_open(&mut codes);
    issue(&mut codes, CodeRecord::open(hash(3), DAY));
    let worth = [1, 2, 3].map(|number| judge(&codes, &hash(number), 0));
    assert_eq!(worth, [Worth::Used, Worth::Expired, Worth::Good]);
}

#[derive(Clone, Debug)]
enum Step {
    Issue(u8, Millis),
    Reissue(u8, Millis),
    Redeem(u8),
    Wrong(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let number = 0_u8..16;
    prop_oneof![
        (number.clone(), 0..DAY).prop_map(|(number, ttl)| Step::Issue(number, ttl)),
        (number.clone(), 0..DAY).prop_map(|(number, ttl)| Step::Reissue(number, ttl)),
        number.prop_map(Step::Redeem),
        (1_u8..60).prop_map(Step::Wrong),
    ]
}

proptest! {
    #[test]
    fn every_code_reads_back_however_it_is_typed(
        random: [u8; 5],
        other: [u8; 5],
        lower: bool,
        filler in "[ -]{0,3}",
        place in 0_usize..8,
    ) {
        let code = ClaimCode::mint(random);
        let mut typed = code.expose().replace('1', "I").replace('0', "o");
        typed.insert_str(place, &filler);
        let typed = if lower { typed.to_lowercase() } else { typed };
        let read = ClaimCode::parse(&typed).unwrap();
        prop_assert_eq!(read.expose(), code.expose());
        let same = ClaimCode::mint(other).fingerprint(&ada()) == code.fingerprint(&ada());
        prop_assert_eq!(same, random == other);
    }

    /// Against a model that knows, of each code, what was done to it.
    #[test]
    fn no_code_is_good_twice_or_too_late(steps in prop::collection::vec((step(), 0..DAY / 4), 1..60)) {
        let (mut codes, mut now) = (Vec::new(), 0);
        // Number → (when it ends, how often it was guessed at, whether it was used or replaced).
        let mut model: BTreeMap<u8, (Millis, u32, Option<Worth>)> = BTreeMap::new();
        let mut order: Vec<u8> = Vec::new();
        for (step, pause) in steps {
            now += pause;
            match step {
                // In life no code is issued twice.
                Step::Issue(number, _) | Step::Reissue(number, _) if order.contains(&number) => {}
                Step::Issue(number, ttl) | Step::Reissue(number, ttl) => {
                    if matches!(step, Step::Reissue(..)) {
                        void_open(&mut codes);
                        for (_, _, fate) in model.values_mut() {
                            fate.get_or_insert(Worth::Expired);
                        }
                    }
                    issue(&mut codes, CodeRecord::open(hash(number), now + ttl));
                    model.insert(number, (now + ttl, 0, None));
                    order.push(number);
                    if let Some(oldest) = order.len().checked_sub(11) {
                        model.remove(&order[oldest]);
                    }
                }
                Step::Redeem(number) => {
                    let expected = match model.get(&number) {
                        None => Worth::Invalid,
                        Some((.., Some(fate))) => *fate,
                        Some((end, wrong, None)) if now >= *end || *wrong >= 50 => Worth::Expired,
                        Some(_) => Worth::Good,
                    };
                    prop_assert_eq!(redeem(&mut codes, &hash(number), now), expected);
                    if expected == Worth::Good {
                        model.get_mut(&number).unwrap().2 = Some(Worth::Used);
                    }
                }
                Step::Wrong(times) => {
                    for _ in 0..times {
                        count_wrong(&mut codes, now);
                    }
                    for (_, wrong, _) in model.values_mut() {
                        *wrong += u32::from(times);
                    }
                }
            }
            prop_assert!(codes.len() <= 10);
        }
    }
}
