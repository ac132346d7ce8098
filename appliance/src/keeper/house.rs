//! The house behind the doors: out of a bundle, or the one page that says that there is none.

use super::lines::Exchange;
use super::settings::Settings;
use bundle::{Authority, Broken, Bundle, Clients, Profile, Secrets};
use bytes::Bytes;
use core::fmt;
use http::{Found, House, Leaf, Limits, Notice, Shelf, Site};
use pinata::BadPinata;
use std::rc::Rc;
use tls::mint::{self, Unmintable, Validity};
use tls::{Calendar, ClientPolicy, Flaw, Front, Key, TicketSecret, TooShort, Trust};
use world::World;

/// The house cannot be opened: what is wrong and what would help.
#[derive(Debug)]
pub enum BadHouse {
    /// The bundle, or its secret part, is not what was packed.
    Broken(Broken),
    /// The bundle came without its secret part.
    NoSecrets,
    /// The secret part holds no key for a site.
    NoKey(String),
    /// The shared ticket secret is too short.
    Ticket(TooShort),
    /// The certificate could not be made.
    Mint(Unmintable),
    /// A site cannot be served as it is.
    Flaw(String, Flaw),
    /// The bundle holds nothing to put into a piñata.
    EmptyPinata,
    /// The piñata cannot be hung up.
    Pinata(BadPinata),
}

impl fmt::Display for BadHouse {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(broken) => write!(out, "bundle: {broken}"),
            Self::NoSecrets => {
                out.write_str("the bundle came without its secret part: give it with --secrets")
            }
            Self::NoKey(site) => write!(out, "bundle: the site {site} has no key: pack it again"),
            Self::Ticket(short) => write!(out, "bundle: the ticket secret: {short}"),
            Self::Mint(bad) => bad.fmt(out),
            Self::Flaw(site, flaw) => write!(out, "the site {site}: {flaw}"),
            Self::EmptyPinata => out.write_str(
                "the bundle's secret part has nothing named \"pinata\": pack one, or leave --pinata out",
            ),
            Self::Pinata(bad) => bad.fmt(out),
        }
    }
}

/// What is served, and how it speaks TLS.
pub(super) struct Furnished {
    pub(super) front: Front,
    /// Tickets are made from a secret of the operator's, which other appliances have too.
    pub(super) tickets_are_shared: bool,
    pub(super) house: House,
    /// Who calls outward for the house.
    pub(super) exchange: Exchange,
    /// What it was furnished from.
    pub(super) bundle: Option<Rc<Bundle>>,
}

/// The house that the world was given, or the one that says that there is none; or the page of a piñata.
pub(super) fn furnish<W: World>(
    world: &W,
    settings: &Settings,
    calendar: &Calendar,
    secrets: Option<&[u8]>,
    pinata: Option<Rc<dyn Shelf>>,
) -> Result<Furnished, BadHouse> {
    let mut furnished = match (pinata, world.boot().bundle) {
        (Some(shelf), public) => {
            let mut furnished = of_one_shelf(world, settings, calendar, shelf)?;
            furnished.house.plainly = true;
            let open = |public| Bundle::open(Bytes::from_static(public)).map_err(BadHouse::Broken);
            furnished.bundle = public.map(open).transpose()?.map(Rc::new);
            furnished
        }
        (None, Some(public)) => {
            let bundle = Bundle::open(Bytes::from_static(public)).map_err(BadHouse::Broken)?;
            out_of_a_bundle(secrets, Rc::new(bundle), calendar)?
        }
        (None, None) => of_one_shelf(world, settings, calendar, Rc::new(OnePage::new()))?,
    };
    furnished.house.https_port = settings.published.unwrap_or(furnished.house.https_port);
    Ok(furnished)
}

/// What addresses of our own making follow from, if the bundle says.
pub(super) fn address_secret<W: World>(world: &W, secrets: Option<&[u8]>) -> Option<[u8; 16]> {
    let bundle = Bundle::open(Bytes::from_static(world.boot().bundle?)).ok()?;
    Secrets::open(secrets?, &bundle.fingerprint()).ok()?.address()
}

/// The house that takes the present one's place.
pub(super) fn refurnish(
    settings: &Settings,
    calendar: &Calendar,
    bundle: Rc<Bundle>,
    secrets: &[u8],
) -> Result<Furnished, BadHouse> {
    let mut furnished = out_of_a_bundle(Some(secrets), bundle, calendar)?;
    furnished.house.https_port = settings.published.unwrap_or(furnished.house.https_port);
    Ok(furnished)
}

fn out_of_a_bundle(
    secrets: Option<&[u8]>,
    bundle: Rc<Bundle>,
    calendar: &Calendar,
) -> Result<Furnished, BadHouse> {
    let secrets = Secrets::open(secrets.ok_or(BadHouse::NoSecrets)?, &bundle.fingerprint())
        .map_err(BadHouse::Broken)?;
    let estate = bundle.estate();
    let sites = estate.sites.iter().enumerate();
    let sites = sites.map(|(place, site)| tls_site(site, estate.profile, secrets.key(place)));
    let default = estate.default_site.and_then(|site| usize::try_from(site).ok());
    let front = front(sites.collect::<Result<_, _>>()?, default, calendar)?;
    if let Some(shared) = secrets.ticket() {
        front.make_tickets_from(TicketSecret::shared(shared).map_err(BadHouse::Ticket)?);
    }
    let tickets_are_shared = secrets.ticket().is_some();
    let exchange = Exchange::new(estate.resolvers.clone());
    let mut house = House::of(bundle.clone());
    for site in &mut house.sites {
        let name = site.words.names.first().map_or("without a name", String::as_str);
        let relays = site.words.proxies.iter().map(|words| exchange.relay(words, name, calendar));
        site.relays = relays.collect::<Result<_, _>>()?;
    }
    Ok(Furnished { front, tickets_are_shared, house, exchange, bundle: Some(bundle) })
}

fn front(sites: Vec<tls::Site>, default: Option<usize>, calendar: &Calendar) -> Result<Front, BadHouse> {
    Front::new(sites, default, calendar.clone()).map_err(|flaw| BadHouse::Flaw("of the bundle".into(), flaw))
}

/// How one site of a bundle speaks TLS.
fn tls_site(site: &bundle::Site, profile: Profile, key: Option<&[u8]>) -> Result<tls::Site, BadHouse> {
    let name = || site.names.first().cloned().unwrap_or_else(|| "without a name".into());
    let key = key.ok_or_else(|| BadHouse::NoKey(name()))?;
    let mut wanted = tls::Site::new(site.names.clone(), site.chain.clone(), Key::new(key.to_vec()));
    wanted.profile = match profile {
        Profile::Intermediate => tls::Profile::Intermediate,
        Profile::Modern => tls::Profile::Modern,
    };
    wanted.clients = clients(&site.clients).map_err(|flaw| BadHouse::Flaw(name(), flaw))?;
    wanted.ocsp.clone_from(&site.ocsp);
    wanted.alpn = alpn();
    Ok(wanted)
}

fn clients(clients: &Clients) -> Result<ClientPolicy, Flaw> {
    let trust = |authority: &Authority| Trust::new(&authority.certificates, authority.revoked.clone());
    Ok(match clients {
        Clients::Unasked => ClientPolicy::None,
        Clients::Optional(authority) => ClientPolicy::Optional(trust(authority)?),
        Clients::Required(authority) => ClientPolicy::Required(trust(authority)?),
    })
}

fn alpn() -> Vec<Vec<u8>> {
    vec![b"h2".to_vec(), b"http/1.1".to_vec()]
}

/// One site, under a certificate that is made in memory now and that nobody knows.
fn of_one_shelf<W: World>(
    world: &W,
    settings: &Settings,
    calendar: &Calendar,
    shelf: Rc<dyn Shelf>,
) -> Result<Furnished, BadHouse> {
    let names: Vec<String> = settings.addresses.iter().map(|(address, _)| address.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).chain(["localhost", "127.0.0.1"]).collect();
    let validity = Validity::days(world.wall_clock(), 30);
    let authority = mint::Authority::new("Gatehouse, made at boot", validity).map_err(BadHouse::Mint)?;
    let minted = authority.server(&names, validity).map_err(BadHouse::Mint)?;
    let mut site = tls::Site::new(Vec::new(), minted.chain, minted.key);
    site.alpn = alpn();
    let words =
        bundle::Site { names: names.into_iter().map(str::to_owned).collect(), ..bundle::Site::default() };
    let sites = vec![Site::new(words, shelf)];
    let (limits, https_port) = (Limits::default(), 443);
    let (plainly, trusted, notice) = (false, Vec::new(), Notice::default());
    let house = House {
        crowd: None,
        sites,
        default_site: Some(0),
        limits,
        https_port,
        plainly,
        trusted,
        figures: None,
        books: None,
        notice,
    };
    let front = front(vec![site], Some(0), calendar)?;
    let exchange = Exchange::new(Vec::new());
    Ok(Furnished { front, tickets_are_shared: false, house, exchange, bundle: None })
}

/// A shelf with one page on it.
struct OnePage(Leaf);

impl OnePage {
    fn new() -> Self {
        Self(Leaf::fleeting("text/html; charset=utf-8", include_bytes!("welcome.html").as_slice()))
    }
}

impl Shelf for OnePage {
    fn find(&self, path: &str) -> Found {
        if path == "/index.html" { Found::Page(self.0.clone()) } else { Found::Nothing }
    }
}
