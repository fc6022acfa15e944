//! TLS between gate and dialer: version 1.3 alone, a certificate that lives as long as the run, and proofs that both sides
//! know the token's secret.
//!
//! The certificate is not vouched for by anybody; whoever dials knows its SHA-256 from the token. A proof is a keyed hash
//! over what TLS exports for its session (RFC 8446, section 7.5), so it is worth nothing on another connection.

use crate::token::Secret;
use blake3::Hash;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, Connection, DigitallySignedStruct, Error, ServerConfig,
    ServerConnection, SignatureScheme, version::TLS13,
};
use std::sync::Arc;

/// What is spoken inside TLS.
const PROTOCOL: &[u8] = b"xdist/1";

/// The name in the certificate. Nobody looks at it.
const NAME: &str = "xdist";

const EXPORTER_LABEL: &[u8] = b"EXPORTER-xdist-join";

/// A proof, as it travels.
pub type Proof = [u8; 32];

/// TLS cannot be prepared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// No certificate.
    #[error("make a certificate")]
    Certificate(#[source] rcgen::Error),
    /// No configuration or connection.
    #[error("prepare TLS")]
    Configuration(#[from] Error),
}

/// Which side proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The dialer, first.
    Dialer,
    /// The gate, once it has seen the dialer's.
    Gate,
}

/// The gate's side of TLS: a certificate and its key.
#[derive(Clone, Debug)]
pub struct Identity {
    config: Arc<ServerConfig>,
    fingerprint: [u8; 32],
}

impl Identity {
    /// A new certificate. Its key is nowhere but in this process.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn new() -> Result<Self, TlsError> {
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).map_err(TlsError::Certificate)?;
        let certificate = made.cert.der().clone();
        let fingerprint = fingerprint(&certificate);
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])?
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)?;
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        // A session that is resumed would skip the certificate, for nothing that matters here.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self { config: Arc::new(config), fingerprint })
    }

    /// The SHA-256 of the certificate.
    #[must_use]
    pub const fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }

    /// The gate's side of a new connection.
    ///
    /// # Errors
    /// When the configuration is unusable, which the first connection would show.
    pub fn accept(&self) -> Result<Connection, TlsError> {
        Ok(ServerConnection::new(Arc::clone(&self.config))?.into())
    }
}

/// The dialer's side of a new connection, to the gate that has this certificate and to no other.
///
/// # Errors
/// When the configuration is unusable.
pub fn dial(fingerprint: [u8; 32]) -> Result<Connection, TlsError> {
    let pinned = Pinned { fingerprint, provider: provider() };
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(pinned))
        .with_no_client_auth();
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    let name = ServerName::try_from(NAME).map_err(|_| Error::General("a name that is none".to_owned()))?;
    Ok(ClientConnection::new(Arc::new(config), name)?.into())
}

/// What one side says to prove that it knows the secret.
///
/// # Errors
/// Before the handshake is done.
pub fn proof(tls: &Connection, secret: &Secret, side: Side) -> Result<Proof, TlsError> {
    Ok(*keyed(tls, secret, side)?.as_bytes())
}

/// Whether that is what the other side says if it knows the secret. Takes the same time whatever it is.
#[must_use]
pub fn is_proof(tls: &Connection, secret: &Secret, side: Side, proof: Proof) -> bool {
    keyed(tls, secret, side).is_ok_and(|expected| expected == Hash::from_bytes(proof))
}

fn keyed(tls: &Connection, secret: &Secret, side: Side) -> Result<Hash, TlsError> {
    Ok(keyed_over(&tls.export_keying_material([0; 32], EXPORTER_LABEL, None)?, secret, side))
}

fn keyed_over(exported: &[u8; 32], secret: &Secret, side: Side) -> Hash {
    let label: &[u8] = match side {
        Side::Dialer => b"dialer",
        Side::Gate => b"gate",
    };
    let mut hasher = blake3::Hasher::new_keyed(secret.key());
    hasher.update(label).update(exported);
    hasher.finalize()
}

/// Whether a dialer failed because the certificate is not the one in its token.
#[must_use]
pub fn is_other_certificate(error: &Error) -> bool {
    matches!(error, Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn fingerprint(certificate: &CertificateDer<'_>) -> [u8; 32] {
    let digest = ::ring::digest::digest(&::ring::digest::SHA256, certificate);
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(digest.as_ref());
    fingerprint
}

/// Knows one certificate.
#[derive(Debug)]
struct Pinned {
    fingerprint: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match fingerprint(end_entity) == self.fingerprint {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Has two sides talk until neither has anything to say, or one has failed.
    fn talk(dialer: &mut Connection, gate: &mut Connection) -> Result<(), Error> {
        while dialer.wants_write() || gate.wants_write() {
            pass(dialer, gate)?;
            pass(gate, dialer)?;
        }
        Ok(())
    }

    fn pass(from: &mut Connection, to: &mut Connection) -> Result<(), Error> {
        let mut bytes = Vec::new();
        while from.wants_write() {
            from.write_tls(&mut bytes).unwrap();
        }
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            to.read_tls(&mut rest).unwrap();
            to.process_new_packets()?;
        }
        Ok(())
    }

    fn connected() -> (Connection, Connection) {
        let identity = Identity::new().unwrap();
        let (mut dialer, mut gate) = (dial(identity.fingerprint()).unwrap(), identity.accept().unwrap());
        talk(&mut dialer, &mut gate).unwrap();
        assert!(!dialer.is_handshaking() && !gate.is_handshaking());
        (dialer, gate)
    }

    /// What others have to compute too.
    #[test]
    fn the_proofs_of_the_document_are_right() {
        let document = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/protocol.md");
        let document = std::fs::read_to_string(document).unwrap();
        for (name, side) in [("dialer", Side::Dialer), ("gate", Side::Gate)] {
            let line = format!("{name} {}", keyed_over(&[5; 32], &Secret::new([9; 32]), side));
            assert!(document.lines().any(|found| found == line), "{line}");
        }
    }

    #[test]
    fn both_sides_prove_that_they_know_the_secret() {
        let (dialer, gate) = connected();
        let secret = Secret::new([1; 32]);
        let (first, second) =
            (proof(&dialer, &secret, Side::Dialer).unwrap(), proof(&gate, &secret, Side::Gate).unwrap());
        assert!(is_proof(&gate, &secret, Side::Dialer, first));
        assert!(is_proof(&dialer, &secret, Side::Gate, second));
    }

    #[test]
    fn a_proof_is_worth_nothing_elsewhere() {
        let (dialer, gate) = connected();
        let (_, other_gate) = connected();
        let secret = Secret::new([1; 32]);
        let first = proof(&dialer, &secret, Side::Dialer).unwrap();
        assert!(!is_proof(&other_gate, &secret, Side::Dialer, first), "another TLS session");
        assert!(!is_proof(&dialer, &secret, Side::Gate, first), "sent back to where it came from");
        assert!(!is_proof(&gate, &Secret::new([2; 32]), Side::Dialer, first), "another secret");
    }

    #[test]
    fn another_certificate_is_refused() {
        let (mut dialer, mut gate) = (dial([0; 32]).unwrap(), Identity::new().unwrap().accept().unwrap());
        let error = talk(&mut dialer, &mut gate).unwrap_err();
        assert!(is_other_certificate(&error), "{error}");
    }

    /// Somebody has copied the certificate, which is no secret, but has not its key.
    #[test]
    fn a_certificate_without_its_key_is_refused() {
        let (real, false_one) =
            (rcgen::generate_simple_self_signed([NAME.to_owned()]), Identity::new().unwrap());
        let certificate = real.unwrap().cert.der().clone();
        let key = rcgen::KeyPair::generate().unwrap();
        let signing = ring::sign::any_supported_type(&PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(
            key.serialize_der(),
        )));
        let resolver = rustls::sign::SingleCertAndKey::from(rustls::sign::CertifiedKey::new(
            vec![certificate.clone()],
            signing.unwrap(),
        ));
        let mut config = (*false_one.config).clone();
        config.cert_resolver = Arc::new(resolver);
        let mut gate = Connection::from(ServerConnection::new(Arc::new(config)).unwrap());
        let mut dialer = dial(fingerprint(&certificate)).unwrap();
        let error = talk(&mut dialer, &mut gate).unwrap_err();
        assert!(matches!(error, Error::InvalidCertificate(CertificateError::BadSignature)), "{error}");
    }

    #[test]
    fn another_protocol_inside_tls_is_refused() {
        let identity = Identity::new().unwrap();
        let mut config = (*identity.config).clone();
        config.alpn_protocols = vec![b"xdist/9".to_vec()];
        let mut gate = Connection::from(ServerConnection::new(Arc::new(config)).unwrap());
        let mut dialer = dial(identity.fingerprint()).unwrap();
        assert_eq!(talk(&mut dialer, &mut gate), Err(Error::NoApplicationProtocol));
    }
}
