//! Which message goes to which object, and has which reply. Callers need to know no more of an object
//! than this.

use domain::alerts::Notice;
use domain::fair_queue::{Place, SlotMessage};
#[cfg(feature = "office")]
use domain::farewell::Leaving;
use domain::guesses::{Count, Counted};
use domain::month::Usage;
use domain::session::access::Proof;
use domain::session::codex::SignInStanding;
use domain::session::codex::messages::{
    BeginSignIn, Begun, ForgetTokens, Fresh, FreshToken, KeepTokens, TellSignIn,
};
use domain::session::farewell::{Farewell, Forget, Reopen, TellPaying};
use domain::session::messages::{
    AddKey, Admission, Admit, Bind, CountRefusals, Describe, Entitle, Flush, Prove, Remember,
    RemoveProject, Renew, Repair, SessionMessage, SetTier, Settle, TellMonth,
};
use domain::session::onboarding::{Claim, Claimed, Enroll, Enrolled, IssueCode};
use domain::session::return_path::messages::{Draw, Drawn, KeepHandle, Spent};
use domain::session::view::View;

use crate::objects::Message;
#[cfg(feature = "office")]
use crate::objects::actions::{ActionMessage, EndSession, HasEnded, Note, Unname};
#[cfg(feature = "office")]
use crate::objects::customer::{CustomerMessage, ForgetUser, Receive};
#[cfg(feature = "office")]
use crate::objects::farewell::Part;

/// Which class takes a message, by its binding; in which envelope, or as it is; and what it replies.
macro_rules! messages {
    ($binding:literal takes $envelope:ident: $($message:ident => $reply:ty),+) => {$(
        impl Message for $message {
            const BINDING: &'static str = $binding;
            type Envelope = $envelope;
            type Reply = $reply;

            fn seal(self) -> $envelope {
                $envelope::$message(self)
            }
        }
    )+};
    ($binding:literal takes $message:ident => $reply:ty) => {
        impl Message for $message {
            const BINDING: &'static str = $binding;
            type Envelope = Self;
            type Reply = $reply;

            fn seal(self) -> Self {
                self
            }
        }
    };
}

messages!(
    "USER_SESSIONS" takes SessionMessage:
    Admit => Admission,
    CountRefusals => (),
    Settle => bool,
    Renew => bool,
    Remember => (),
    Bind => bool,
    AddKey => bool,
    KeepHandle => bool,
    Draw => Drawn,
    Spent => bool,
    IssueCode => (),
    Claim => Claimed,
    Enroll => Enrolled,
    Prove => Proof,
    Describe => View,
    Repair => bool,
    KeepTokens => bool,
    ForgetTokens => bool,
    FreshToken => Fresh,
    BeginSignIn => Begun,
    TellSignIn => Option<SignInStanding>,
    Entitle => bool,
    SetTier => (),
    RemoveProject => bool,
    TellMonth => Usage,
    Flush => bool,
    TellPaying => Vec<String>,
    Forget => Farewell,
    Reopen => ()
);
messages!("GUESSES" takes Count => Counted);
messages!("SLOTS" takes SlotMessage => Place);
messages!("ALERTS" takes Notice => ());
#[cfg(feature = "office")]
messages!(
    "ACTIONS" takes ActionMessage:
    Note => (),
    Unname => (),
    EndSession => (),
    HasEnded => bool
);
#[cfg(feature = "office")]
messages!("CUSTOMERS" takes CustomerMessage: Receive => (), ForgetUser => Vec<String>);
#[cfg(feature = "office")]
messages!("FAREWELLS" takes Part => Leaving);
