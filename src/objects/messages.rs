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
    AddKey, Admission, Admit, Bind, Describe, Entitle, Flush, Prove, Remember, RemoveProject,
    Renew, Repair, SessionMessage, SetTier, Settle, TellMonth, TellSubscribed,
};
use domain::session::onboarding::{Claim, Claimed, Enroll, Enrolled, IssueCode};
use domain::session::view::View;

use crate::objects::Message;
#[cfg(feature = "office")]
use crate::objects::customer::{CustomerMessage, ForgetUser, Receive};
#[cfg(feature = "office")]
use crate::objects::farewell::Part;

macro_rules! session_messages {
    ($($message:ident => $reply:ty),+) => {$(
        impl Message for $message {
            const BINDING: &'static str = "USER_SESSIONS";
            type Envelope = SessionMessage;
            type Reply = $reply;

            fn seal(self) -> SessionMessage {
                SessionMessage::$message(self)
            }
        }
    )+};
}

session_messages!(
    Admit => Admission,
    Settle => bool,
    Renew => bool,
    Remember => (),
    Bind => bool,
    AddKey => bool,
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
    TellSubscribed => bool,
    Forget => Farewell,
    Reopen => ()
);

impl Message for Count {
    const BINDING: &'static str = "GUESSES";
    type Envelope = Self;
    type Reply = Counted;

    fn seal(self) -> Self {
        self
    }
}

impl Message for SlotMessage {
    const BINDING: &'static str = "SLOTS";
    type Envelope = Self;
    type Reply = Place;

    fn seal(self) -> Self {
        self
    }
}

impl Message for Notice {
    const BINDING: &'static str = "ALERTS";
    type Envelope = Self;
    type Reply = ();

    fn seal(self) -> Self {
        self
    }
}

#[cfg(feature = "office")]
impl Message for Receive {
    const BINDING: &'static str = "CUSTOMERS";
    type Envelope = CustomerMessage;
    type Reply = ();

    fn seal(self) -> CustomerMessage {
        CustomerMessage::Receive(self)
    }
}

#[cfg(feature = "office")]
impl Message for ForgetUser {
    const BINDING: &'static str = "CUSTOMERS";
    type Envelope = CustomerMessage;
    type Reply = Vec<String>;

    fn seal(self) -> CustomerMessage {
        CustomerMessage::ForgetUser(self)
    }
}

#[cfg(feature = "office")]
impl Message for Part {
    const BINDING: &'static str = "FAREWELLS";
    type Envelope = Self;
    type Reply = Leaving;

    fn seal(self) -> Self {
        self
    }
}
