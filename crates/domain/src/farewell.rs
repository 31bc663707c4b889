//! How a person is forgotten everywhere, step by step, and what the operator hears of it.
//!
//! Each step is written down once it is done and can be done again without harm, so that it goes on
//! wherever it was interrupted. The user's object comes first: from then on nothing new is written.

use serde::{Deserialize, Serialize};

use crate::clock::Millis;
use crate::identifiers::UserId;
use crate::month::Usage;
use crate::session::farewell::{Farewell, Held};

/// How far it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// It is wanted.
    #[default]
    Wanted,
    /// The user's object has dropped all, and the USER_ID is closed.
    Closed,
    /// The Stripe customers don't know whose they are, and what D1 and R2 hold has been counted.
    Told,
    /// D1 and R2 have nothing more.
    Swept,
    /// The USER_ID is as new. What was on its way to D1 meanwhile is looked for once more.
    Done,
}

/// What D1 and R2 held of a person, as it was counted before it was deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// Requests: rows, each by its count.
    pub requests: u64,
    /// What they came to; amounts, which are kept.
    pub months: Vec<Usage>,
    /// Rows of the operator's actions.
    pub actions: u64,
    /// Whether there was a row of the user.
    pub is_listed: bool,
    /// Kits.
    #[serde(default)]
    pub kits: u64,
}

/// All that is known of one leaving; stored as it is, and gone a minute after it is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaving {
    /// Who is to be forgotten.
    pub user_id: UserId,
    /// The operator's request.
    pub request_id: String,
    /// When it was wanted; once D1 and R2 have nothing more, when that was.
    pub at: Millis,
    /// How far it is.
    pub step: Step,
    /// What the user's object had, once it is closed.
    pub farewell: Farewell,
    /// What D1 and R2 had, once it was counted.
    pub counted: Counted,
    /// The Stripe customers that were told.
    pub customers: Vec<String>,
    /// The subscriptions that go on being paid for.
    pub paying: Vec<String>,
}

impl Leaving {
    /// One that has just been asked for.
    #[must_use]
    pub fn wanted(user_id: UserId, request_id: String, at: Millis) -> Self {
        Self {
            user_id,
            request_id,
            at,
            step: Step::Wanted,
            farewell: Farewell::default(),
            counted: Counted::default(),
            customers: Vec::new(),
            paying: Vec::new(),
        }
    }

    /// Whether it has to be gone on with when it is asked for again; else that is another one, of
    /// whoever has the USER_ID by then.
    #[must_use]
    pub fn is_under_way(&self) -> bool {
        self.step < Step::Done
    }

    /// What the operator hears.
    #[must_use]
    pub fn report(&self) -> Report {
        let Self { user_id, farewell, counted, .. } = self;
        let done = !self.is_under_way();
        let Farewell { held, .. } = farewell;
        let Counted { requests, months, actions, is_listed, kits } = counted.clone();
        let customers = self.customers.clone();
        let is_anything = *held != Held::default()
            || requests + actions + kits > 0
            || is_listed
            || !(months.is_empty() && customers.is_empty());
        Report {
            user_id: user_id.clone(),
            done,
            message: message(user_id, done, is_anything),
            forgotten: (self.step > Step::Wanted).then_some(Gone { held: *held, requests, kits }),
            kept: (self.step > Step::Closed).then_some(Kept { months, customers, actions }),
            pending: self.pending(),
            still_to_do: self.still_to_do(),
        }
    }

    fn pending(&self) -> Vec<&'static str> {
        let steps = [
            (Step::Closed, "The user's object drops all that it holds, and closes the USER_ID."),
            (
                Step::Told,
                "Stripe's customers forget whose they are, and what D1 and R2 have is counted.",
            ),
            (Step::Swept, "D1 and R2 forget."),
            (Step::Done, "The USER_ID is free again."),
        ];
        let pending = steps.into_iter().filter(|(step, _)| *step > self.step);
        pending.map(|(_, text)| text).collect()
    }

    fn still_to_do(&self) -> Vec<String> {
        let paying = self.paying.iter().map(|id| {
            format!(
                "Subscription {id} goes on being paid for, and grants nothing any more. Cancel it in \
                 Stripe's dashboard."
            )
        });
        let agent = (self.farewell.held.handles > 0).then(|| {
            format!(
                "OpenClaw has the agent u-{user_id} of the person's, with conversations and a workspace, and a \
                 handle that opens nothing any more. Run `gatewayctl openclaw apply --prune --roster FILE` \
                 on its machine, where FILE lists those who stay.",
                user_id = self.user_id
            )
        });
        let elsewhere = ELSEWHERE.into_iter().map(str::to_owned);
        let customers = self.customers.iter().map(|id| {
            format!(
                "Stripe has its own record of customer {id}, with name and payments. What it must \
                 keep and what it may delete, Stripe's dashboard says."
            )
        });
        paying.chain(customers).chain(agent).chain(elsewhere).collect()
    }
}

/// What no gateway can forget.
const ELSEWHERE: [&str; 2] = [
    "The upstream may have its own records of the person: conversations, a workspace. Delete them \
     there.",
    "The list of participants from which the roster was imported is yours: take the person off it, or \
     the next import seats them anew.",
];

fn message(user_id: &UserId, done: bool, is_anything: bool) -> String {
    match (done, is_anything) {
        (true, true) => format!(
            "{user_id} is forgotten. The USER_ID is free: whoever comes under it is somebody new."
        ),
        (true, false) => format!("Nothing is known of {user_id}: there was nothing to forget."),
        (false, _) => format!(
            "{user_id} is being forgotten. The USER_ID is closed until that is done, and it goes on \
             by itself; ask again to see how far it is."
        ),
    }
}

/// What the operator hears: what was done, what is kept, what is left to be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Who.
    pub user_id: UserId,
    /// Whether all is done.
    pub done: bool,
    /// In a sentence.
    pub message: String,
    /// How much was forgotten, as far as that is done.
    pub forgotten: Option<Gone>,
    /// What stays, of nobody, as far as that is known.
    pub kept: Option<Kept>,
    /// What goes on by itself.
    pub pending: Vec<&'static str>,
    /// What the operator has to do.
    pub still_to_do: Vec<String>,
}

/// How much was forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Gone {
    /// In the user's object.
    #[serde(flatten)]
    pub held: Held,
    /// In D1: requests.
    pub requests: u64,
    /// In R2: kits.
    pub kits: u64,
}

/// What stays: amounts, and what leads to those that Stripe has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// What was used, which is in the sums of all who were forgotten now.
    pub months: Vec<Usage>,
    /// Customers with their subscriptions, by Stripe's ids.
    pub customers: Vec<String>,
    /// The operator's actions: that they were done, and no more to whom.
    pub actions: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::month::Month;

    fn leaving() -> Leaving {
        Leaving::wanted(UserId::parse("ada").unwrap(), "req_1".to_owned(), 5)
    }

    #[test]
    fn the_report_says_how_far_it_is() {
        let mut leaving = leaving();
        let wanted = leaving.report();
        assert_eq!((wanted.done, &wanted.forgotten, &wanted.kept), (false, &None, &None));
        assert_eq!(wanted.pending.len(), 4);
        leaving.step = Step::Closed;
        leaving.farewell.held.keys = 2;
        let closed = leaving.report();
        assert_eq!(closed.forgotten.unwrap().held.keys, 2);
        assert_eq!((closed.kept, closed.pending.len()), (None, 3));
        leaving.step = Step::Told;
        leaving.counted.months = vec![Usage { month: Month::of(0), requests: 7, tokens: 9 }];
        assert_eq!(leaving.report().kept.unwrap().months[0].requests, 7);
        assert!(leaving.is_under_way() && leaving.report().message.contains("is being forgotten"));
        leaving.step = Step::Done;
        let done = leaving.report();
        assert!(done.done && done.pending.is_empty() && done.message.contains("is forgotten"));
    }

    #[test]
    fn who_was_nobody_is_said_to_be() {
        let leaving = Leaving { step: Step::Done, ..leaving() };
        let message = leaving.report().message;
        assert_eq!(message, "Nothing is known of ada: there was nothing to forget.");
    }

    #[test]
    fn what_stripe_bills_comes_first() {
        let (paying, customers) = (vec!["sub_1".to_owned()], vec!["cus_1".to_owned()]);
        let leaving = Leaving { paying, customers, step: Step::Done, ..leaving() };
        let to_do = leaving.report().still_to_do;
        assert!(to_do[0].contains("Cancel") && to_do[0].contains("sub_1"), "{to_do:?}");
        assert!(to_do[1].contains("cus_1"));
        let mut leaving = leaving;
        assert!(!to_do.concat().contains("u-ada"), "who has no handle has no agent");
        leaving.farewell.held.handles = 1;
        assert!(leaving.report().still_to_do[2].contains("the agent u-ada"));
    }

    #[test]
    fn the_stored_format_is_pinned() {
        let literal = r#"{"user_id":"ada","request_id":"req_1","at":5,"step":"wanted","farewell":{"outbox":"","customers":[],"paying":[],"months":[],"held":{"on_roster":false,"keys":0,"codes":0,"first_key":false,"codex_tokens":false,"handles":0,"given_tier":null,"projects":0,"in_flight":0,"unsent":0}},"counted":{"requests":0,"months":[],"actions":0,"is_listed":false,"kits":0},"customers":[],"paying":[]}"#;
        assert_eq!(serde_json::to_string(&leaving()).unwrap(), literal);
        assert_eq!(serde_json::from_str::<Leaving>(literal).unwrap(), leaving());
        let from_before_kits = literal.replace(r#","kits":0"#, "").replace(r#""handles":0,"#, "");
        assert_eq!(serde_json::from_str::<Leaving>(&from_before_kits).unwrap(), leaving());
    }
}
