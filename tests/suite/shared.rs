//! Gateways that many tests use at once, each started when the first test asks for it.
//!
//! Tests keep out of each other's way by using a USER_ID of their own.

use std::sync::atomic::{AtomicU32, Ordering};

use gateway_tests::{Gateway, Options, Upstream};
use tokio::sync::OnceCell;

/// A gateway and the upstream behind it.
pub struct Pair {
    pub gateway: Gateway,
    pub upstream: Upstream,
}

/// What addresses are hashed with on the shared gateways.
pub const PEPPER: &str = "pepper-for-tests";

/// The one origin that the open gateway allows.
pub const ORIGIN: &str = "https://console.example.com";

static OPEN: OnceCell<Pair> = OnceCell::const_new();
static FIRST_KEY: OnceCell<Pair> = OnceCell::const_new();
static KEYED: OnceCell<Pair> = OnceCell::const_new();
static SOLD: OnceCell<Pair> = OnceCell::const_new();

/// `USER_BINDING=open`: the header names the user, as on a trusted network.
pub async fn open() -> &'static Pair {
    OPEN.get_or_init(async || {
        let options = Options::new()
            .var("USER_BINDING", "open")
            .var("IP_HASH_PEPPER", PEPPER)
            .var("CORS_ORIGINS", ORIGIN);
        pair(options).await
    })
    .await
}

/// `USER_BINDING=first-key`, with room for all the tests behind the one address.
pub async fn first_key() -> &'static Pair {
    FIRST_KEY
        .get_or_init(async || pair(Options::new().var("UNPROVEN_PER_MINUTE", "10000")).await)
        .await
}

/// `USER_BINDING=key`: every request needs a gateway key. Nobody is anonymous here.
pub async fn keyed() -> &'static Pair {
    KEYED
        .get_or_init(async || {
            let options = Options::new().var("USER_BINDING", "key").var("ALLOW_ANONYMOUS", "false");
            pair(options).await
        })
        .await
}

/// What Stripe signs with on the gateway that sells, and what it signed with earlier.
pub const SIGNING: &str = "whsec_signing-secret-of-the-tests";
pub const SIGNED_EARLIER: &str = "whsec_earlier-secret-of-the-tests";

/// Tiers are sold, and not needed.
pub async fn sold() -> &'static Pair {
    SOLD.get_or_init(async || pair(selling(Options::new())).await).await
}

/// Settings with which tiers are sold.
pub fn selling(options: Options) -> Options {
    let prices = r#"{"price_1QTier1":"tier1","price_2":"tier2","price_3":"tier3"}"#;
    let links = r#"{"tier1":"https://buy.example.com/one",
        "tier2":"https://buy.example.com/two?prefilled_promo_code=WELCOME",
        "tier3":"https://buy.example.com/three"}"#;
    options
        .var("STRIPE_WEBHOOK_SECRET", SIGNING)
        .var("STRIPE_WEBHOOK_SECRET_PREVIOUS", SIGNED_EARLIER)
        .var("STRIPE_PRICES", prices)
        .var("STRIPE_LINKS", links)
        .var("STRIPE_PORTAL_URL", "https://billing.example.com/p/login")
}

/// A gateway with `options` in front of an upstream of its own.
pub async fn pair(options: Options) -> Pair {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(options.upstream(upstream.url())).await;
    Pair { gateway, upstream }
}

/// A USER_ID that no other test uses.
pub fn user(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("{name}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Stops the gateways that were started.
pub fn stop() {
    for pair in [OPEN.get(), FIRST_KEY.get(), KEYED.get(), SOLD.get()].into_iter().flatten() {
        pair.gateway.stop();
    }
}
