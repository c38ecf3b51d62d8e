//! The guest owner of virtee's sev crate, on a command line: what it makes, and what it makes of ours.
//!
//! The crate has the owner's side alone. What the platform does with a session is done here with the crate's
//! own derivation of keys and its own MAC, and with OpenSSL for the rest.

use std::{env, error::Error, fs, io::Read, mem::transmute_copy};

use codicon::Decoder;
use openssl::{
    bn::BigNum,
    derive::Deriver,
    ec::{EcGroup, EcKey},
    nid::Nid,
    pkey::PKey,
    symm::{decrypt, Cipher},
};
use sev::{
    certs::sev::{sev::Certificate, Chain, Verifiable},
    firmware::host::{Build, Version},
    launch::sev::{HeaderFlags, Measurement, Policy, Session as Blob},
    session::{Initialized, Session},
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["chain", chain] => chain_at(chain)?.verify().map(|_| ()).map_err(Into::into),
        ["start", chain, policy, out] => start(chain, policy.parse()?, out),
        ["open", key, godh, session, policy] => open(key, godh, session, policy.parse()?),
        ["verify", keys, policy, major, minor, build, digest, blob] => {
            let build = Build {
                version: Version { major: major.parse()?, minor: minor.parse()? },
                build: build.parse()?,
            };
            let own = session_of(keys, policy.parse()?)?;
            own.verify(&fs::read(digest)?, build, measurement_at(blob)?)?;
            Ok(())
        }
        ["secret", keys, blob, plain, out] => secret(keys, blob, plain, out),
        _ => Err("chain|start|open|verify|secret".into()),
    }
}

/// Read a chain as `sevctl export --full` writes it.
fn chain_at(path: &str) -> Result<Chain> {
    Ok(Chain::decode(&mut fs::File::open(path)?, ())?)
}

fn start(chain: &str, policy: u32, out: &str) -> Result<()> {
    let own = Session::try_from(Policy::from(policy))?;
    let started = own.start(chain_at(chain)?).map_err(|error| format!("{error:?}"))?;
    // SAFETY: both are plain bytes in the layout of the firmware.
    let session: [u8; 128] = unsafe { transmute_copy(&started.session) };
    let godh: [u8; 2084] = unsafe { transmute_copy(&started.cert) };
    fs::write(format!("{out}_session.bin"), session)?;
    fs::write(format!("{out}_godh.bin"), godh)?;
    fs::write(format!("{out}_tk.bin"), [&own.tek[..], &own.tik[..]].concat())?;
    Ok(())
}

/// Print TEK and TIK of a session of ours, opened with the private key of the PDH it is for.
fn open(key: &str, godh: &str, session: &str, policy: u32) -> Result<()> {
    // That it reads is a check of its own.
    Certificate::decode(&mut fs::File::open(godh)?, ())?;
    let godh = fs::read(godh)?;
    let raw: [u8; 128] = fs::read(session)?.try_into().map_err(|_| "a session has 128 bytes")?;
    // SAFETY: the crate's own layout of the same bytes.
    let blob: Blob = unsafe { transmute_copy(&raw) };

    let private = PKey::private_key_from_der(&fs::read(key)?)?;
    let group = EcGroup::from_curve_name(Nid::SECP384R1)?;
    let coordinate = |at: usize| -> Result<BigNum> {
        let mut bytes = godh[at..at + 72].to_vec();
        bytes.reverse();
        Ok(BigNum::from_slice(&bytes)?)
    };
    let (x, y) = (coordinate(20)?, coordinate(92)?);
    let peer = PKey::from_ec_key(EcKey::from_public_key_affine_coordinates(&group, &x, &y)?)?;
    let mut deriver = Deriver::new(&private)?;
    deriver.set_peer(&peer)?;
    let shared = deriver.derive_to_vec()?;

    // The crate gives out no key of given bytes: one of the right length is derived, and overwritten.
    let any = Session::try_from(Policy::from(policy))?;
    let mut secret = any.tek.derive(shared.len(), &[], "any")?;
    secret.copy_from_slice(&shared);
    let master = secret.derive(16, &blob.nonce, "sev-master-secret")?;
    let kek = master.derive(16, &[], "sev-kek")?;
    let kik = master.derive(16, &[], "sev-kik")?;
    if kik.mac(&blob.wrap_tk)? != blob.wrap_mac {
        return Err("WRAP_MAC".into());
    }
    let keys = decrypt(Cipher::aes_128_ctr(), &kek, Some(&blob.wrap_iv), &blob.wrap_tk)?;
    let mut tik = any.tik;
    tik.copy_from_slice(&keys[16..]);
    if tik.mac(&policy.to_le_bytes())? != blob.policy_mac {
        return Err("POLICY_MAC".into());
    }
    for byte in keys {
        print!("{byte:02x}");
    }
    println!();
    Ok(())
}

fn secret(keys: &str, blob: &str, plain: &str, out: &str) -> Result<()> {
    let own = session_of(keys, 0)?;
    // SAFETY: what it skips is verified by another command.
    let verified = unsafe { own.mock_verify(measurement_at(blob)?)? };
    let plain = fs::read(plain)?;
    let made =
        verified.secret(HeaderFlags::default(), &plain).map_err(|error| format!("{error:?}"))?;
    let flags = 0u32.to_le_bytes();
    let header = [&flags[..], &made.header.iv[..], &made.header.mac[..]].concat();
    fs::write(format!("{out}_header.bin"), header)?;
    fs::write(format!("{out}_payload.bin"), made.ciphertext)?;
    Ok(())
}

/// Return a session with the TEK and TIK of a file.
fn session_of(keys: &str, policy: u32) -> Result<Session<Initialized>> {
    let mut both = [0u8; 32];
    fs::File::open(keys)?.read_exact(&mut both)?;
    let mut own = Session::try_from(Policy::from(policy))?;
    own.tek.copy_from_slice(&both[..16]);
    own.tik.copy_from_slice(&both[16..]);
    Ok(own)
}

fn measurement_at(path: &str) -> Result<Measurement> {
    let raw: [u8; 48] = fs::read(path)?.try_into().map_err(|_| "a measurement has 48 bytes")?;
    Ok(Measurement {
        measure: raw[..32].try_into()?,
        mnonce: raw[32..].try_into()?,
    })
}
