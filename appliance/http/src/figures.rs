//! Live figures: as text for those who read, as a drawing for the page that shows them. Nothing secret is
//! among them.

use crate::house::Leaf;
use core::fmt::Write as _;

/// Below this path they are found.
pub(crate) const PLACE: &str = "/.well-known/gatehouse/";

/// Who knows the figures of this moment.
pub trait Figures {
    /// Names and values, in the order in which they are shown. The first six are drawn.
    fn now(&self) -> Vec<(&'static str, String)>;
}

/// The page of that name below [`PLACE`].
pub(crate) fn page(figures: &dyn Figures, name: &str) -> Option<Leaf> {
    match name {
        "figures" => Some(Leaf::fleeting("text/plain; charset=utf-8", text(&figures.now()))),
        "figures.svg" => Some(Leaf::fleeting("image/svg+xml", drawing(&figures.now()))),
        _ => None,
    }
}

fn text(figures: &[(&str, String)]) -> String {
    let width = figures.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    figures.iter().map(|(name, value)| format!("{name:width$}  {value}\n")).collect()
}

/// Six figures in two rows of three. The drawing adapts to light and dark by itself.
fn drawing(figures: &[(&str, String)]) -> String {
    let mut svg = String::from(HEAD);
    for (place, (name, value)) in figures.iter().take(6).enumerate() {
        let (x, y) = (24 + place % 3 * 232, 48 + place / 3 * 68);
        let (name, value) = (escaped(name), escaped(value));
        let _ = write!(svg, "<text class=\"v\" x=\"{x}\" y=\"{y}\">{value}</text>");
        let _ = write!(svg, "<text class=\"n\" x=\"{x}\" y=\"{}\">{name}</text>", y + 21);
    }
    svg.push_str("</svg>\n");
    svg
}

const HEAD: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 720 150\" role=\"img\"><title>Live figures</title>\
    <style>text{font-family:system-ui,sans-serif}.v{font-size:28px;font-weight:600;fill:#b4540a}\
    .n{font-size:15px;fill:#5d6470}@media(prefers-color-scheme:dark){.v{fill:#f2a65a}.n{fill:#a2a8b3}}</style>";

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Two;

    impl Figures for Two {
        fn now(&self) -> Vec<(&'static str, String)> {
            vec![("up since", "a <b> & c".into()), ("pages", "7".into())]
        }
    }

    #[test]
    fn figures_are_read_and_drawn() {
        assert_eq!(text(&Two.now()), "up since  a <b> & c\npages     7\n");
        let drawing = drawing(&Two.now());
        assert!(drawing.contains(">a &lt;b&gt; &amp; c</text>") && drawing.ends_with("</svg>\n"));
        assert!(page(&Two, "figures").is_some() && page(&Two, "figures/").is_none());
    }
}
