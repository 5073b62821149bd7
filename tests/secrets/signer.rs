//! Who signs the cookies of a site whose keys are public.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use jsonwebtoken::EncodingKey;
use jsonwebtoken::Header;
use jsonwebtoken::jwk::Jwk;
use rcgen::KeyPair;
use rcgen::SignatureAlgorithm;

/// One key.
pub(crate) struct Signer {
    algorithm: Algorithm,
    private: EncodingKey,
    public: Vec<u8>,
}

impl Signer {
    /// One for each algorithm.
    pub(crate) fn of_each() -> [Self; 3] {
        type Read = fn(&[u8]) -> jsonwebtoken::errors::Result<EncodingKey>;
        let kinds: [(_, &SignatureAlgorithm, Read); 3] = [
            (Algorithm::RS256, &rcgen::PKCS_RSA_SHA256, EncodingKey::from_rsa_pem),
            (Algorithm::ES256, &rcgen::PKCS_ECDSA_P256_SHA256, EncodingKey::from_ec_pem),
            (Algorithm::EdDSA, &rcgen::PKCS_ED25519, EncodingKey::from_ed_pem),
        ];
        kinds.map(|(algorithm, kind, read)| {
            let pair = KeyPair::generate_for(kind).unwrap();
            let private = read(pair.serialize_pem().as_bytes()).unwrap();
            Self { algorithm, private, public: pair.public_key_raw().to_vec() }
        })
    }

    /// The cookie of a member, for an hour.
    pub(crate) fn cookie(&self, username: &str) -> String {
        let end = jsonwebtoken::get_current_timestamp() + 3600;
        let mut header = Header::new(self.algorithm);
        header.kid = Some(format!("{:?}", self.algorithm));
        let claims = serde_json::json!({ "sub": username, "exp": end });
        format!("session={}", jsonwebtoken::encode(&header, &claims, &self.private).unwrap())
    }

    /// Its public half.
    pub(crate) fn jwk(&self) -> serde_json::Value {
        let kid = format!("{:?}", self.algorithm);
        if self.algorithm == Algorithm::EdDSA {
            // RFC 8037 §2; jsonwebtoken makes none of such a key.
            let x = BASE64_URL_SAFE_NO_PAD.encode(&self.public);
            return serde_json::json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid });
        }
        let mut jwk = Jwk::from_encoding_key(&self.private, self.algorithm).unwrap();
        jwk.common.key_id = Some(kid);
        serde_json::to_value(jwk).unwrap()
    }
}
