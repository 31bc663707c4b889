//! What a user's session decides about Codex tokens, and what is written then.

use super::{CodexRecord, Freshness, NotSignedIn, SignIn, SignedOut, TokenRecord};
use crate::clock::Millis;
use crate::custody::Sealed;
use crate::session::{Change, Session};

impl Session {
    /// What is kept of the user's Codex session.
    #[must_use]
    pub const fn codex(&self) -> &CodexRecord {
        &self.codex
    }

    /// What is to be done for a fresh token, as [`CodexRecord::freshness`] says. Where the request that
    /// it pays for isn't running, its user was forgotten, and the tokens are somebody else's.
    ///
    /// # Errors
    /// [`SignedOut`].
    pub fn freshness(
        &self,
        request_id: &str,
        rejected: Option<u64>,
        now: Millis,
    ) -> Result<Freshness, SignedOut> {
        if !self.leases.contains_key(request_id) && !self.returns.knows(request_id) {
            return Err(SignedOut::NoSession);
        }
        self.codex.freshness(rejected, now)
    }

    /// Whether the operator has blocked the user.
    #[must_use]
    pub const fn is_blocked(&self) -> bool {
        self.access.blocked.is_some()
    }

    /// Keeps tokens that the user brought. `false` for a blocked user.
    pub fn keep_tokens(&mut self, tokens: TokenRecord) -> (bool, Vec<Change>) {
        if self.is_blocked() {
            return (false, Vec::new());
        }
        self.codex.keep(tokens);
        (true, vec![self.codex_changed()])
    }

    /// Forgets tokens and sign-in. Says whether there were any.
    pub fn forget_tokens(&mut self) -> (bool, Vec<Change>) {
        let were_there = self.codex.forget();
        self.if_changed(were_there)
    }

    /// Keeps what a refresh brought; `None` says that the provider doesn't refresh any more.
    /// `false` where other tokens came meanwhile.
    pub fn refreshed(
        &mut self,
        version: u64,
        tokens: Option<TokenRecord>,
        now: Millis,
    ) -> (bool, Vec<Change>) {
        let is_taken = match tokens {
            Some(tokens) => self.codex.refreshed(version, tokens, now),
            None => self.codex.refused(version),
        };
        self.if_changed(is_taken)
    }

    /// Keeps the same tokens, sealed with another key.
    pub fn resealed(&mut self, access: Sealed, refresh: Sealed) -> ((), Vec<Change>) {
        self.codex.resealed(access, refresh);
        ((), vec![self.codex_changed()])
    }

    /// Lets a sign-in begin, or says how many milliseconds to wait.
    pub fn begin_sign_in(&mut self, now: Millis) -> (Result<(), Millis>, Vec<Change>) {
        let begun = self.codex.begin(now);
        (begun, begun.is_ok().then(|| self.codex_changed()).into_iter().collect())
    }

    /// Keeps a sign-in that has begun.
    pub fn sign_in_begun(&mut self, sign_in: SignIn) -> ((), Vec<Change>) {
        self.codex.begun(sign_in);
        ((), vec![self.codex_changed()])
    }

    /// Takes the answer to a poll. `false` where the sign-in isn't wanted any more.
    pub fn polled(
        &mut self,
        id: &str,
        answer: Result<TokenRecord, NotSignedIn>,
        now: Millis,
    ) -> (bool, Vec<Change>) {
        let is_taken = self.codex.polled(id, answer, now);
        self.if_changed(is_taken)
    }

    pub(in crate::session) fn codex_changed(&self) -> Change {
        Change::Codex(Box::new(self.codex.clone()))
    }

    fn if_changed(&self, is_changed: bool) -> (bool, Vec<Change>) {
        (is_changed, is_changed.then(|| self.codex_changed()).into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identifiers::UserId;
    use crate::session::codex::messages::{
        BeginSignIn, Begun, Codes, ForgetTokens, Fresh, FreshToken, KeepTokens, TellSignIn,
    };
    use crate::session::codex::tests::{sealed, sign_in, tokens};
    use crate::session::codex::{AccessToken, SignInState};
    use crate::session::messages::{Admission, Admit, Reason, SessionMessage};
    use crate::session::tests::{admit, limits, reason, with_bearer};
    use crate::session::{Limits, Stored};
    use crate::settings::UserBinding;

    const HOUR: Millis = 3_600_000;
    const CODEX: Limits<'_> = Limits { needs_token: true, ..limits(9, 9) };

    /// A session that is bound to `sk-ada`.
    fn of_ada() -> Session {
        let mut session = Session::restore(Stored::default(), 0).0;
        assert!(session.bind(with_bearer("sk-ada").bearer.unwrap()).0);
        session
    }

    fn by(request_id: &str, bearer: &str) -> Admit {
        Admit { shown: with_bearer(bearer), ..admit(request_id) }
    }

    /// What a restart finds, after these changes and nothing else.
    fn restarted(changes: Vec<Change>, now: Millis) -> (Session, Vec<Change>) {
        let mut stored = Stored::default();
        for change in changes {
            if let Change::Codex(codex) = change {
                stored.codex = *codex;
            }
        }
        Session::restore(stored, now)
    }

    #[test]
    fn a_request_is_paid_with_its_users_own_token() {
        let mut session = of_ada();
        let asks = |session: &mut Session, request_id, limits| {
            session.admit(by(request_id, "sk-ada"), limits, 0).0
        };
        let refused = asks(&mut session, "a", CODEX);
        assert_eq!(reason(&refused), Some(Reason::NoCodexSession));
        session.keep_tokens(tokens("a", HOUR));
        let Admission::Admitted(permit) = asks(&mut session, "b", CODEX) else { panic!() };
        let token = AccessToken { sealed: sealed("a"), version: 1, is_due: false, is_over: false };
        assert_eq!(permit.token, Some(token));
        let Admission::Admitted(permit) = asks(&mut session, "c", limits(9, 9)) else { panic!() };
        assert_eq!(permit.token, None, "the caller's own key pays");
        session.refreshed(1, None, 0);
        let refused = asks(&mut session, "d", CODEX);
        assert_eq!(reason(&refused), Some(Reason::CodexSessionExpired));
    }

    #[test]
    fn tokens_are_for_who_has_proven_under_any_binding() {
        for binding in [UserBinding::Open, UserBinding::FirstKey, UserBinding::Key] {
            let limits = Limits { binding, ..CODEX };
            let mut session = Session::restore(Stored::default(), 0).0;
            session.keep_tokens(tokens("a", HOUR));
            let (admission, changes) = session.admit(by("a", "sk-eve"), limits, 0);
            assert_eq!(reason(&admission), Some(Reason::MissingKey), "{binding:?}");
            assert_eq!(changes, [], "nobody is known by that name");
        }
        let mut session = of_ada();
        session.keep_tokens(tokens("a", HOUR));
        let (admission, _) = session.admit(by("a", "sk-eve"), CODEX, 0);
        assert_eq!(reason(&admission), Some(Reason::UserIdBound));
    }

    #[test]
    fn what_is_decided_outlives_a_restart() {
        let mut session = of_ada();
        let (begun, changes) = session.begin_sign_in(0);
        assert_eq!(begun, Ok(()));
        let (mut session, _) = restarted(changes, 1);
        assert_eq!(session.begin_sign_in(1), (Err(9_999), Vec::new()));
        let ((), changes) = session.sign_in_begun(sign_in("s1", 1));
        let (mut session, _) = restarted(changes, 2);
        assert_eq!(session.next_wake(), Some(5_001));
        let (is_taken, changes) = session.polled("s1", Ok(tokens("a", HOUR)), 5_001);
        assert!(is_taken);
        let (mut session, _) = restarted(changes, 5_002);
        assert_eq!(session.next_wake(), None);
        let standing = session.codex().sign_in().unwrap().standing(5_002);
        assert_eq!(standing.state, SignInState::SignedIn);
        assert!(!session.polled("s1", Ok(tokens("b", HOUR)), 5_002).0);
        let (is_taken, changes) = session.refreshed(1, Some(tokens("b", HOUR)), 5_003);
        assert!(is_taken);
        let (session, _) = restarted(changes, 5_004);
        assert_eq!(session.codex().access(5_004).unwrap().sealed, sealed("b"));
    }

    #[test]
    fn a_sign_in_that_nobody_ends_is_ended() {
        let mut session = of_ada();
        session.sign_in_begun(sign_in("s1", 0));
        assert_eq!(session.expire(899_999), []);
        assert!(matches!(session.expire(900_000)[..], [Change::Codex(_)]));
        assert_eq!(session.expire(900_000), []);
    }

    #[test]
    fn the_clock_moves_the_tokens_too() {
        let mut session = of_ada();
        session.observe(HOUR);
        session.sign_in_begun(sign_in("s1", HOUR));
        let changes = session.observe(0);
        assert!(matches!(changes[..], [Change::MoveBack(HOUR), Change::Codex(_)]));
        assert_eq!(session.next_wake(), Some(5_000));
        session.sign_in_begun(sign_in("s2", 9 * HOUR));
        let (session, changes) = restarted(vec![session.codex_changed()], 0);
        assert!(matches!(changes[..], [Change::Codex(_)]), "{changes:?}");
        assert_eq!(session.next_wake(), Some(5_000));
    }

    #[test]
    fn the_messages_are_pinned() {
        let user_id = UserId::parse("ada").unwrap();
        let seal = serde_json::to_string(&sealed("a")).unwrap();
        let refresh = serde_json::to_string(&sealed("refresh-a")).unwrap();
        let keep = format!(
            r#"{{"keep_tokens":{{"access":{seal},"refresh":{refresh},"expires_at":7,"expired":false,"refreshed_at":null}}}}"#
        );
        let fresh =
            FreshToken { user_id: user_id.clone(), request_id: "q1".to_owned(), rejected: Some(3) };
        for (message, literal) in [
            (SessionMessage::KeepTokens(KeepTokens(tokens("a", 7))), keep.as_str()),
            (SessionMessage::ForgetTokens(ForgetTokens {}), r#"{"forget_tokens":{}}"#),
            (
                SessionMessage::FreshToken(fresh),
                r#"{"fresh_token":{"user_id":"ada","request_id":"q1","rejected":3}}"#,
            ),
            (
                SessionMessage::BeginSignIn(BeginSignIn { user_id }),
                r#"{"begin_sign_in":{"user_id":"ada"}}"#,
            ),
            (
                SessionMessage::TellSignIn(TellSignIn { id: "s1".to_owned() }),
                r#"{"tell_sign_in":{"id":"s1"}}"#,
            ),
        ] {
            assert_eq!(serde_json::to_string(&message).unwrap(), literal);
            assert!(serde_json::from_str::<SessionMessage>(literal).is_ok());
        }
        let token = AccessToken { sealed: sealed("a"), version: 1, is_due: true, is_over: false };
        let literal =
            format!(r#"{{"token":{{"sealed":{seal},"version":1,"is_due":true,"is_over":false}}}}"#);
        assert_eq!(serde_json::to_string(&Fresh::Token(token)).unwrap(), literal);
        for (reply, literal) in [
            (Fresh::Refused(Reason::CodexSessionExpired), r#"{"refused":"codex_session_expired"}"#),
            (Fresh::Refused(Reason::NoCodexSession), r#"{"refused":"no_codex_session"}"#),
            (Fresh::Unavailable, r#""unavailable""#),
        ] {
            assert_eq!(serde_json::to_string(&reply).unwrap(), literal);
        }
        let codes = Codes {
            id: "s1".to_owned(),
            user_code: "AB".to_owned(),
            verification_uri: "https://a.example/".to_owned(),
            verification_uri_complete: None,
            expires_at: 9,
            interval: 5,
        };
        let literal = r#"{"codes":{"id":"s1","user_code":"AB","verification_uri":"https://a.example/","verification_uri_complete":null,"expires_at":9,"interval":5}}"#;
        assert_eq!(serde_json::to_string(&Begun::Codes(codes)).unwrap(), literal);
        let too_soon = serde_json::to_string(&Begun::TooSoon { retry_after_ms: 1 }).unwrap();
        assert_eq!(too_soon, r#"{"too_soon":{"retry_after_ms":1}}"#);
        assert_eq!(serde_json::to_string(&Begun::Unavailable).unwrap(), r#""unavailable""#);
    }
}
