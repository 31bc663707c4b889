//! Whom the command trusts, and what it says of whom it doesn't.

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use serde_json::Value;
use tempfile::TempDir;

use crate::server::{Server, well};
use crate::{Ctl, Ended};

/// Somebody who signs certificates, and whom a test may trust.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    folder: TempDir,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.distinguished_name.push(DnType::CommonName, "Authority of the tests");
        let certificate = parameters.self_signed(&key).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("authority.pem"), certificate.pem()).unwrap();
        Self { issuer: Issuer::new(parameters, key), folder }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("authority.pem")
    }

    /// A server's certificate for a name, until a year's end; signed by itself where nobody else does.
    fn server(&self, name: &str, last_year: i32, is_own: bool) -> Server {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new(vec![name.to_owned()]).unwrap();
        parameters.distinguished_name = rcgen::DistinguishedName::new();
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.not_before = date_time_ymd(2020, 1, 1);
        parameters.not_after = date_time_ymd(last_year, 12, 31);
        let certificate = if is_own {
            parameters.self_signed(&key).unwrap()
        } else {
            parameters.signed_by(&key, &self.issuer).unwrap()
        };
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        Server::with(well, Some(Arc::new(config)))
    }

    fn examine(&self, server: &Server) -> Ended {
        let url = format!("https://127.0.0.1:{}", server.port);
        Ctl::new(&["doctor", "--json", "--url", &url]).env("SSL_CERT_FILE", self.file()).run()
    }
}

fn check<'a>(report: &'a Value, name: &str) -> &'a Value {
    let checks = report["checks"].as_array().unwrap();
    checks.iter().find(|check| check["name"] == name).unwrap()
}

#[test]
fn a_certificate_of_somebody_trusted_is_well() {
    let authority = Authority::new();
    let server = authority.server("127.0.0.1", 2999, false);
    let ended = authority.examine(&server).is(0);
    let report = ended.json();
    let why = check(&report, "tls")["why"].as_str().unwrap();
    assert!(why.contains("Authority of the tests ends in") && why.contains("2999-12-31"), "{why}");
    for name in ["url", "dns", "tcp", "gateway", "ready", "d1", "upstream", "token"] {
        assert_eq!(check(&report, name)["verdict"], "ok", "{report}");
    }
    let heads = server.heads();
    let shown: Vec<_> = heads.iter().filter(|head| head.contains("authorization: ")).collect();
    assert_eq!(
        (heads.len(), shown.len()),
        (4, 2),
        "the token is shown where it is needed: {heads:?}"
    );
}

#[test]
fn what_is_wrong_with_a_certificate_is_said() {
    let authority = Authority::new();
    for (server, words) in [
        (authority.server("127.0.0.1", 2021, false), ["ended 2021-12-31", "from Authority"]),
        (authority.server("127.0.0.1", 2999, true), ["doesn't trust", "from itself"]),
        (authority.server("gw.example.com", 2999, false), ["another name", "for gw.example.com"]),
    ] {
        let ended = authority.examine(&server).is(3);
        let report = ended.json();
        let tls = check(&report, "tls");
        assert_eq!((&tls["verdict"], &report["verdict"]), (&"fail".into(), &"fail".into()));
        let why = tls["why"].as_str().unwrap();
        assert!(words.iter().all(|word| why.contains(word)), "{why}");
        assert!(tls["next"].is_string());
        assert_eq!(check(&report, "token")["verdict"], "skipped");
        assert_eq!(ended.failure()["exit_code"], 3);
        assert_eq!(server.heads(), Vec::<String>::new(), "nothing was told to who isn't trusted");
    }
}

#[test]
fn nothing_is_asked_of_who_isn_t_trusted() {
    let authority = Authority::new();
    let server = authority.server("127.0.0.1", 2021, false);
    let url = format!("https://127.0.0.1:{}", server.port);
    let users = Ctl::new(&["users", "--url", &url]).env("SSL_CERT_FILE", authority.file());
    users.run().is(3).says("can't be trusted: its certificate ended 2021-12-31");
    assert_eq!(server.heads(), Vec::<String>::new());
}

#[test]
fn a_machine_that_trusts_nobody_says_so() {
    let empty = tempfile::NamedTempFile::new().unwrap();
    let users = Ctl::new(&["users", "--url", "https://127.0.0.1:9"]);
    users.env("SSL_CERT_FILE", empty.path()).run().is(3).says("ca-certificates");
}
