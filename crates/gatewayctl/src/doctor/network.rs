//! The way to the gateway's host: its name, a connection, its certificate.

use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::clock::Millis;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

use super::{Check, Examination};
use crate::base_url::BaseUrl;
use crate::failure::Failure;
use crate::{moments, tls};

const PATIENCE: Duration = Duration::from_secs(10);

/// A certificate that ends sooner should have been renewed by now.
const RENEWAL_DAYS: i64 = 14;

/// Checks name, connection and certificate; says whether the gateway can be asked.
///
/// # Errors
/// Where it can't be printed.
pub fn examine(examination: &mut Examination, base: &BaseUrl) -> Result<bool, Failure> {
    if let Some(proxy) = proxy(base) {
        let why = format!("Requests go through the proxy {proxy}, which sees to it.");
        examination.skip(&["dns", "tcp", "tls"], &why)?;
        return Ok(true);
    }
    let mut addresses = Vec::new();
    if !examination.check("dns", || resolve(base, &mut addresses))? {
        examination.skip(&["tcp", "tls"], "The host has no address.")?;
        return Ok(false);
    }
    let mut stream = None;
    if !examination.check("tcp", || connect(&addresses, &mut stream))? {
        examination.skip(&["tls"], "There is no connection.")?;
        return Ok(false);
    }
    let Some(stream) = stream else { return Ok(false) };
    if !base.is_tls() {
        let why = if base.is_loopback() { "Not needed on this very machine." } else { "Not used." };
        examination.skip(&["tls"], why)?;
        return Ok(true);
    }
    examination.check("tls", || encrypt(base, &stream))
}

fn proxy(base: &BaseUrl) -> Option<String> {
    let proxy = ureq::Proxy::try_from_env().filter(|_| !base.is_loopback())?;
    Some(format!("{}:{}", proxy.host(), proxy.port()))
}

fn resolve(base: &BaseUrl, addresses: &mut Vec<SocketAddr>) -> Check {
    let host = base.host();
    match (host, base.port()).to_socket_addrs() {
        Ok(found) => addresses.extend(found),
        Err(error) => {
            return Check::fail(
                format!("There is no host called {host} ({error})."),
                "Check the spelling of the URL, then this machine's network. A name that was made \
                 a moment ago may take some minutes.",
            );
        }
    }
    if host.parse::<std::net::IpAddr>().is_ok() {
        return Check::ok(format!("{host} is an address, no name"));
    }
    let listed: Vec<_> = addresses.iter().take(4).map(|known| known.ip().to_string()).collect();
    Check::ok(format!("{host} is {}", listed.join(", ")))
}

fn connect(addresses: &[SocketAddr], stream: &mut Option<TcpStream>) -> Check {
    let mut problems = Vec::new();
    for address in addresses {
        let began = Instant::now();
        match TcpStream::connect_timeout(address, PATIENCE) {
            Ok(connected) => {
                *stream = Some(connected);
                let took = began.elapsed().as_millis();
                return Check::ok(format!("{address} answers within {took} ms"));
            }
            Err(error) => problems.push(format!("{address}: {error}")),
        }
    }
    let next = "Nothing listens there, or a firewall is in between. Check the port, and whether the \
                gateway is deployed; another network (a phone's) tells whether it is this one.";
    Check::fail(format!("No connection comes about: {}.", problems.join("; ")), next)
}

fn encrypt(base: &BaseUrl, stream: &TcpStream) -> Check {
    let config = match tls::by_hand() {
        Ok(config) => config,
        Err(failure) => return Check::of(failure),
    };
    match shake_hands(Arc::new(config), base, stream) {
        Ok(certificate) => judge(&certificate, moments::now()),
        Err(error) => {
            let problem = tls::of_io(&error)
                .map_or_else(|| format!("the connection broke: {error}"), tls::in_words);
            let seen = look_blindly(base, stream).ok();
            let seen = seen.and_then(|certificate| describe(&certificate)).unwrap_or_default();
            Check::fail(format!("{}{seen}", sentence(&problem)), NEXT)
        }
    }
}

/// The certificate of somebody who isn't trusted; nothing is sent on that connection.
fn look_blindly(base: &BaseUrl, before: &TcpStream) -> std::io::Result<CertificateDer<'static>> {
    let again = TcpStream::connect_timeout(&before.peer_addr()?, PATIENCE)?;
    shake_hands(Arc::new(blind()?), base, &again)
}

const NEXT: &str = "If this machine's clock is right, the certificate has to be renewed, or the URL isn't \
                    the gateway's. On a network that reads along, install its certificate, or name it \
                    in SSL_CERT_FILE.";

fn sentence(problem: &str) -> String {
    let mut letters = problem.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string());
    format!("{}{}.", first.unwrap_or_default(), letters.as_str())
}

/// Makes the connection an encrypted one, and gives the other side's certificate.
fn shake_hands(
    config: Arc<ClientConfig>,
    base: &BaseUrl,
    mut stream: &TcpStream,
) -> std::io::Result<CertificateDer<'static>> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let name = ServerName::try_from(base.host().to_owned()).map_err(std::io::Error::other)?;
    let mut connection = ClientConnection::new(config, name).map_err(std::io::Error::other)?;
    while connection.is_handshaking() {
        connection.complete_io(&mut stream)?;
    }
    let shown = connection.peer_certificates().and_then(<[_]>::first);
    shown
        .map(|shown| shown.clone().into_owned())
        .ok_or_else(|| std::io::Error::other("no certificate"))
}

fn ends(certificate: &Certificate) -> Millis {
    let ends = certificate.tbs_certificate.validity.not_after.to_unix_duration();
    Millis::try_from(ends.as_millis()).unwrap_or(Millis::MAX)
}

fn judge(certificate: &CertificateDer<'_>, now: Millis) -> Check {
    let Ok(certificate) = Certificate::from_der(certificate) else {
        return Check::ok("encrypted, with a certificate that is trusted");
    };
    let (ends, issuer) = (ends(&certificate), issuer(&certificate));
    let days = (ends - now).div_euclid(86_400_000);
    let why = format!(
        "encrypted; the certificate of {issuer} ends {} ({})",
        moments::relative(ends, now),
        moments::exact(ends)
    );
    if days < RENEWAL_DAYS {
        return Check::warn(why, "Find out why it wasn't renewed: Cloudflare does that by itself.");
    }
    Check::ok(why)
}

/// What somebody shows who isn't trusted.
fn describe(certificate: &CertificateDer<'_>) -> Option<String> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let fields = &certificate.tbs_certificate;
    let is_its_own = fields.issuer == fields.subject;
    let issuer = if is_its_own { "itself".to_owned() } else { issuer(&certificate) };
    let ends = moments::exact(ends(&certificate));
    Some(format!(" It is for {}, from {issuer}, until {ends}.", name(&fields.subject.to_string())))
}

fn issuer(certificate: &Certificate) -> String {
    name(&certificate.tbs_certificate.issuer.to_string())
}

/// The part of a distinguished name that people know.
fn name(distinguished: &str) -> String {
    let part = |kind: &str| {
        distinguished.split(',').find_map(|part| part.trim().strip_prefix(kind)).map(str::to_owned)
    };
    let name = match (part("CN="), part("O=")) {
        (Some(common), Some(organisation)) => format!("{common} ({organisation})"),
        (Some(name), None) | (None, Some(name)) => name,
        (None, None) => distinguished.to_owned(),
    };
    if name.is_empty() { "nobody".to_owned() } else { name }
}

/// Believes whatever it is shown, to look at it.
fn blind() -> std::io::Result<ClientConfig> {
    let provider = tls::provider();
    let schemes = provider.signature_verification_algorithms.supported_schemes();
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(std::io::Error::other)?;
    let verifier = Arc::new(Blind(schemes));
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

#[derive(Debug)]
struct Blind(Vec<SignatureScheme>);

impl ServerCertVerifier for Blind {
    fn verify_server_cert(
        &self,
        _shown: &CertificateDer<'_>,
        _between: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    #[test]
    fn a_certificate_that_ends_soon_is_warned_of() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut parameters =
            rcgen::CertificateParams::new(vec!["gw.example.com".to_owned()]).unwrap();
        parameters.distinguished_name.push(rcgen::DnType::CommonName, "Somebody");
        parameters.not_after = rcgen::date_time_ymd(2027, 1, 31);
        let certificate = parameters.self_signed(&key).unwrap();
        let day = |text| domain::clock::parse_moment(text).unwrap();
        let good = judge(certificate.der(), day("2027-01-10"));
        assert_eq!(good.verdict, Verdict::Ok);
        assert!(
            good.why.contains("Somebody ends in 21 days (2027-01-31 00:00:00 UTC)"),
            "{good:?}"
        );
        let soon = judge(certificate.der(), day("2027-01-20"));
        assert_eq!(soon.verdict, Verdict::Warn);
        let described = describe(certificate.der()).unwrap();
        assert!(described.contains("from itself, until 2027-01-31"), "{described}");
    }

    #[test]
    fn people_know_a_name_by_its_parts() {
        assert_eq!(name("CN=WE1,O=Google Trust Services,C=US"), "WE1 (Google Trust Services)");
        assert_eq!(name("O=Let's Encrypt"), "Let's Encrypt");
    }
}
