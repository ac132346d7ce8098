//! What visitors read: the rules, the CA's certificate, and the ledger as it is at this moment.
//!
//! One file each, without scripts, pictures or anything from elsewhere.

use crate::attest::Nonce;
use crate::chain::minute;
use crate::doors::{DOORS, Door, Pinata};
use crate::ledger::{Counts, Ledger, Outcome};
use core::fmt::Write as _;
use tls::Kind;
use tls::mint::pem;

/// A page as it is now, and its media type.
pub struct Sheet {
    /// The media type.
    pub kind: &'static str,
    /// The page.
    pub text: String,
}

impl Pinata {
    /// The page that lies at this path now, asked for with these words behind the question mark.
    #[must_use]
    pub fn sheet(&self, path: &str, query: &str) -> Option<Sheet> {
        let ledger = self.ledger();
        let (kind, text) = match path {
            "/attestation" => ("text/plain; charset=utf-8", self.asked(query)),
            "/" | "/index.html" => ("text/html; charset=utf-8", html(self, &ledger)),
            "/ca.pem" => ("application/pem-certificate-chain", self.ca_pem()),
            "/ledger.json" => ("application/json", json(&ledger)),
            _ => return None,
        };
        Some(Sheet { kind, text })
    }

    /// What is worth showing among other figures.
    #[must_use]
    pub fn figures(&self) -> Vec<(&'static str, String)> {
        let ledger = self.ledger();
        let given = DOORS.map(|door| ledger.count(door, Outcome::Given)).iter().sum::<u64>();
        let itself = DOORS.map(|door| ledger.count(door, Outcome::Itself)).iter().sum::<u64>();
        vec![
            ("attempts on the piñata", ledger.attempts().to_string()),
            ("secret told to a visitor", given.to_string()),
            ("secret told to itself", itself.to_string()),
            ("lines in the ledger", ledger.chain().lines().to_string()),
        ]
    }

    fn asked(&self, query: &str) -> String {
        match query.strip_prefix("nonce=").and_then(Nonce::read) {
            Some(nonce) => self.attestation(&nonce),
            None => ASK.to_owned(),
        }
    }

    fn ca_pem(&self) -> String {
        pem("CERTIFICATE", self.ca()).as_str().to_owned()
    }
}

/// What whoever asks without a nonce reads.
const ASK: &str = "Ask with a nonce of your own, so that nobody can have kept the answer: \
                   /attestation?nonce=<32 to 128 hexadecimal digits>\n";

fn html(pinata: &Pinata, ledger: &Ledger) -> String {
    let (chain, since) = (ledger.chain(), minute(ledger.since()));
    let lines = [
        ("{bounty}", escaped(pinata.bounty())),
        ("{verdict}", verdict(ledger).to_owned()),
        ("{attempts}", ledger.attempts().to_string()),
        ("{since}", since),
        ("{rows}", rows(ledger.totals())),
        ("{bars}", bars(ledger)),
        ("{call_back}", call_back(pinata).to_owned()),
        ("{origin}", origin(pinata).to_owned()),
        ("{possession}", possession(pinata)),
        ("{code}", code(pinata)),
        ("{ca}", pinata.ca_pem()),
        ("{start}", chain.start().to_string()),
        ("{lines}", chain.lines().to_string()),
        ("{head}", chain.head().to_string()),
    ];
    filled(include_str!("page.html"), &lines)
}

/// The template with its gaps filled, each text as it is: what stands in one is never a gap itself.
fn filled(mut template: &str, gaps: &[(&str, String)]) -> String {
    let mut text = String::with_capacity(template.len() + 8_192);
    let next =
        |rest: &str| gaps.iter().filter_map(|gap| Some((rest.find(gap.0)?, gap))).min_by_key(|found| found.0);
    while let Some((at, (name, value))) = next(template) {
        text.push_str(template.get(..at).unwrap_or_default());
        text.push_str(value);
        template = template.get(at + name.len()..).unwrap_or_default();
    }
    text.push_str(template);
    text
}

fn verdict(ledger: &Ledger) -> &'static str {
    let given = DOORS.iter().any(|door| ledger.count(*door, Outcome::Given) > 0);
    if given { "It has been broken: somebody was told the secret." } else { "It hangs whole." }
}

fn call_back(pinata: &Pinata) -> &'static str {
    if pinata.doors().any(|door| door == Door::CallBack) {
        "Call it, and it hangs up and calls you back: it is a TLS client to port 40001 of the address that you came \
         from, and you are the server. Each source is called once in ten seconds."
    } else {
        "Closed here. It would hang up and call you back at port 40001; but visitors come to this piñata through a \
         machine that stands between, and it would be called instead of you."
    }
}

fn origin(pinata: &Pinata) -> &'static str {
    if pinata.made_its_keys() {
        "Its key was made in the memory of this machine when it started, has signed three certificates, one for each \
         door, and was wiped. There is no fourth."
    } else {
        "The operator has made it, and may have its key."
    }
}

fn possession(pinata: &Pinata) -> String {
    match pinata.public_key() {
        Some(key) => format!(
            "The bounty is a key pair, and this is its public half (Ed25519): <code class=\"hash\">{key}</code>. The \
             private half is the secret itself, and it signs the answer. A good signature over <em>your</em> nonce \
             proves that whoever answers holds the bounty now. Nothing else is ever signed with it: every statement \
             begins with the words <code>gatehouse piñata attestation</code>, so it can be no transaction and no letter."
        ),
        None => "The bounty here is no key pair, so nothing can prove from outside that it is really here: the answer \
                 is not signed, and you have the operator's word only."
            .to_owned(),
    }
}

fn code(pinata: &Pinata) -> String {
    match pinata.code() {
        Some(code) => format!(
            "This program has hashed its own code and constants in memory: <code class=\"hash\">{code}</code>. Build \
             the published source with <code>tests/reproduce build</code>, and <code>gatehouse measure</code> tells \
             what that file would say here. It is the operator's claim, made by the very program that it is about: a \
             program that lies would show you the same number. Only hardware could attest more."
        ),
        None => "This program has not measured itself.".to_owned(),
    }
}

/// A row for everything that ever happened.
fn rows(counts: &Counts) -> String {
    let mut rows = String::new();
    for outcome in Outcome::all() {
        let row = DOORS.map(|door| counts.of(door, outcome));
        if row.iter().all(|count| *count == 0) {
            continue;
        }
        let _ = write!(rows, "<tr><th scope=row>{}", phrase(outcome));
        let _ = writeln!(rows, "{}", row.map(|count| format!("<td>{count}")).concat());
    }
    if rows.is_empty() {
        rows.push_str("<tr><th scope=row>nobody has tried yet<td>0<td>0<td>0\n");
    }
    rows
}

/// The last hours in which somebody tried, as bars.
fn bars(ledger: &Ledger) -> String {
    let hours: Vec<(u64, u64)> = ledger.hours().map(|(start, counts)| (start, counts.total())).collect();
    let most = hours.iter().map(|(_, count)| *count).max().unwrap_or(0).max(1);
    let mut bars = String::new();
    for (place, (start, count)) in hours.iter().enumerate() {
        let height = 2 + count.saturating_mul(58) / most;
        let (x, y, hour) = (place * 15, 60 - height.min(60), minute(*start));
        let _ = write!(
            bars,
            "<rect x=\"{x}\" y=\"{y}\" width=\"12\" height=\"{height}\"><title>{hour}: {count}</title></rect>"
        );
    }
    bars
}

/// The outcome as visitors read it.
const fn phrase(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Given => "was told the secret",
        Outcome::Itself => "let the piñata talk to itself",
        Outcome::Lost => "was admitted, and gone before the secret came",
        Outcome::Crowded => "found too many at the doors",
        Outcome::Forbidden => "asked to be called where nobody is called",
        Outcome::TooSoon => "asked to be called again too soon",
        Outcome::TooMany => "asked to be called while too many were",
        Outcome::Unanswered => "did not answer the call",
        Outcome::Refused(kind) => refusal(kind),
    }
}

const fn refusal(kind: Kind) -> &'static str {
    match kind {
        Kind::NotTls => "spoke something that is not TLS",
        Kind::Version => "spoke a TLS that is too old",
        Kind::NothingInCommon => "had no cipher in common with it",
        Kind::Protocol => "had no application protocol in common with it",
        Kind::UnknownName => "asked for somebody else",
        Kind::NoCertificate => "showed no certificate",
        Kind::UntrustedIssuer => "showed a certificate of another issuer",
        Kind::Expired => "showed a certificate that has expired",
        Kind::NotYetValid => "showed a certificate that is not valid yet",
        Kind::WrongUse => "showed a certificate for another use",
        Kind::WrongName => "showed a certificate for another name",
        Kind::Revoked => "showed a certificate that was revoked",
        Kind::RevocationUnknown => "showed a certificate that may have been revoked",
        Kind::BadSignature => "had a wrong signature",
        Kind::WeakSignature => "had a signature of a kind that is not trusted",
        Kind::BadCertificate => "showed something that only looks like a certificate",
        Kind::Malformed => "broke the protocol",
        Kind::TooLarge => "said too much at once",
        Kind::PeerRefused => "did not want us",
        Kind::Closed => "knocked and left",
        Kind::TooSlow => "took too long",
        Kind::Ours => "met a fault of ours",
    }
}

fn json(ledger: &Ledger) -> String {
    let chain = ledger.chain();
    let hours: Vec<String> = ledger.hours().map(|(start, counts)| hour(start, counts)).collect();
    format!(
        "{{\"since\":\"{}\",\"attempts\":{},\"chain\":{{\"start\":\"{}\",\"lines\":{},\"head\":\"{}\"}},\
         \"doors\":{{{}}},\"hours\":[{}]}}\n",
        minute(ledger.since()),
        ledger.attempts(),
        chain.start(),
        chain.lines(),
        chain.head(),
        doors(ledger.totals()),
        hours.join(",")
    )
}

fn hour(start: u64, counts: &Counts) -> String {
    format!("{{\"from\":\"{}\",\"doors\":{{{}}}}}", minute(start), doors(counts))
}

fn doors(counts: &Counts) -> String {
    DOORS.map(|door| format!("\"{}\":{{{}}}", door.port(), outcomes(counts, door))).join(",")
}

fn outcomes(counts: &Counts, door: Door) -> String {
    let each = counts.at(door).map(|(outcome, count)| format!("\"{}\":{count}", outcome.word()));
    each.collect::<Vec<_>>().join(",")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fills_a_gap_is_never_a_gap() {
        let gaps = [("{a}", "{b}".to_owned()), ("{b}", "x".to_owned())];
        assert_eq!(filled("1{a}2{b}{a}", &gaps), "1{b}2x{b}");
    }

    #[test]
    fn every_outcome_has_a_phrase_of_its_own() {
        let mut phrases: Vec<&str> = Outcome::all().map(phrase).collect();
        let all = phrases.len();
        phrases.sort_unstable();
        phrases.dedup();
        assert_eq!(phrases.len(), all);
    }
}
