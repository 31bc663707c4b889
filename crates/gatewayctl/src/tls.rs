//! TLS: whom this machine trusts, and why it doesn't trust somebody, in words.
//!
//! The machine's own certificates are used, and none that were built in: an organisation that reads its
//! people's traffic has put its own there, and `SSL_CERT_FILE` names others.

use std::sync::Arc;

use domain::clock::Millis;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::{CertificateError, ClientConfig, RootCertStore};
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};

use crate::failure::{Failure, Kind};
use crate::moments;

/// Whose signatures are believed on this machine.
///
/// # Errors
/// Where there is nobody.
pub fn trusted() -> Result<Vec<CertificateDer<'static>>, Failure> {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        return Err(Failure::new(Kind::Unreachable, "This machine trusts no certificate at all.")
            .next("Install its certificates (package ca-certificates), or name a file in SSL_CERT_FILE."));
    }
    Ok(found.certs)
}

/// What does the mathematics.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// What requests use.
///
/// # Errors
/// Where this machine trusts nobody.
pub fn for_requests() -> Result<TlsConfig, Failure> {
    let trusted = trusted()?;
    let trusted: Vec<_> =
        trusted.iter().map(|known| Certificate::from_der(known).to_owned()).collect();
    Ok(TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .root_certs(RootCerts::new_with_certs(&trusted))
        .unversioned_rustls_crypto_provider(provider())
        .build())
}

/// What a connection by hand uses.
///
/// # Errors
/// Where this machine trusts nobody.
pub fn by_hand() -> Result<ClientConfig, Failure> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(trusted()?);
    ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map(|builder| builder.with_root_certificates(roots).with_no_client_auth())
        .map_err(|error| Failure::new(Kind::Failed, error.to_string()))
}

/// What is wrong with the other side's certificate, where that is why a request failed.
pub fn problem(error: &ureq::Error) -> Option<String> {
    match error {
        ureq::Error::Rustls(error) => Some(in_words(error)),
        ureq::Error::Io(error) => of_io(error).map(in_words),
        _ => None,
    }
}

/// The TLS error in an error of input and output.
pub fn of_io(error: &std::io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref::<rustls::Error>()
}

/// A TLS error in words, without a full stop.
pub fn in_words(error: &rustls::Error) -> String {
    let rustls::Error::InvalidCertificate(problem) = error else {
        return format!("no encrypted connection comes about ({error})");
    };
    match problem {
        CertificateError::Expired => "its certificate has expired".to_owned(),
        CertificateError::ExpiredContext { not_after, .. } => {
            let ended = Millis::try_from(not_after.as_secs()).unwrap_or_default() * 1_000;
            format!("its certificate ended {}", moments::exact(ended))
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate isn't valid yet, or this machine's clock is behind".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "its certificate is for another name".to_owned()
        }
        CertificateError::UnknownIssuer => {
            "its certificate comes from somebody whom this machine doesn't trust".to_owned()
        }
        problem => format!("its certificate isn't good ({problem})"),
    }
}
