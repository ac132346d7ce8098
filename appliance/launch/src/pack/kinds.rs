//! What a file is, by its name.

/// A media type, and whether compression makes it smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) squeezable: bool,
}

const UNKNOWN: Kind = Kind { name: "application/octet-stream", squeezable: false };

/// The kind of the page at `path`. A name without an extension says nothing, except below `.well-known`.
pub(crate) fn of(path: &str) -> Kind {
    let name = path.rsplit('/').next().unwrap_or(path);
    let Some((_, extension)) = name.rsplit_once('.') else {
        return if path.starts_with("/.well-known/") { kind("text/plain; charset=utf-8") } else { UNKNOWN };
    };
    let extension = extension.to_ascii_lowercase();
    let known = KINDS.iter().find(|(extensions, _)| extensions.split(' ').any(|known| known == extension));
    known.map_or(UNKNOWN, |(_, name)| kind(name))
}

fn kind(name: &'static str) -> Kind {
    let text = [
        "text/",
        "+xml",
        "+json",
        "json",
        "javascript",
        "xml",
        "/wasm",
        "font/ttf",
        "font/otf",
        "x-icon",
        "bmp",
    ];
    Kind { name, squeezable: text.iter().any(|part| name.contains(part)) }
}

/// Extensions and their media types.
const KINDS: [(&str, &str); 58] = [
    ("html htm", "text/html; charset=utf-8"),
    ("css", "text/css; charset=utf-8"),
    ("js mjs", "text/javascript; charset=utf-8"),
    ("txt text log", "text/plain; charset=utf-8"),
    ("md markdown", "text/markdown; charset=utf-8"),
    ("csv", "text/csv; charset=utf-8"),
    ("ics", "text/calendar; charset=utf-8"),
    ("vcf", "text/vcard; charset=utf-8"),
    ("vtt", "text/vtt; charset=utf-8"),
    ("json map", "application/json"),
    ("jsonld", "application/ld+json"),
    ("geojson", "application/geo+json"),
    ("webmanifest", "application/manifest+json"),
    ("xml xsl", "application/xml"),
    ("atom", "application/atom+xml"),
    ("rss", "application/rss+xml"),
    ("xhtml", "application/xhtml+xml"),
    ("yaml yml", "application/yaml"),
    ("toml", "application/toml"),
    ("wasm", "application/wasm"),
    ("pdf", "application/pdf"),
    ("rtf", "application/rtf"),
    ("epub", "application/epub+zip"),
    ("zip", "application/zip"),
    ("gz tgz", "application/gzip"),
    ("bz2", "application/x-bzip2"),
    ("xz txz", "application/x-xz"),
    ("zst", "application/zstd"),
    ("br", "application/octet-stream"),
    ("7z", "application/x-7z-compressed"),
    ("tar", "application/x-tar"),
    ("svg", "image/svg+xml"),
    ("png", "image/png"),
    ("apng", "image/apng"),
    ("jpg jpeg jfif", "image/jpeg"),
    ("gif", "image/gif"),
    ("webp", "image/webp"),
    ("avif", "image/avif"),
    ("jxl", "image/jxl"),
    ("ico", "image/x-icon"),
    ("bmp", "image/bmp"),
    ("tif tiff", "image/tiff"),
    ("woff", "font/woff"),
    ("woff2", "font/woff2"),
    ("ttf", "font/ttf"),
    ("otf", "font/otf"),
    ("mp4 m4v", "video/mp4"),
    ("webm", "video/webm"),
    ("ogv", "video/ogg"),
    ("mov", "video/quicktime"),
    ("mp3", "audio/mpeg"),
    ("m4a", "audio/mp4"),
    ("ogg oga opus", "audio/ogg"),
    ("flac", "audio/flac"),
    ("wav", "audio/wav"),
    ("pem", "application/x-pem-file"),
    ("crt cer der", "application/pkix-cert"),
    ("crl", "application/pkix-crl"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_extension_says_what_a_file_is() {
        assert_eq!(of("/a/b.HTML").name, "text/html; charset=utf-8");
        assert_eq!(of("/a.tar.gz").name, "application/gzip");
        assert_eq!(of("/a.html/b").name, UNKNOWN.name);
        assert_eq!(of("/.well-known/acme-challenge/x").name, "text/plain; charset=utf-8");
        assert!(of("/a.svg").squeezable && !of("/a.png").squeezable && !of("/a").squeezable);
    }

    #[test]
    fn no_extension_stands_in_two_rows() {
        let mut all: Vec<&str> = KINDS.iter().flat_map(|(extensions, _)| extensions.split(' ')).collect();
        all.sort_unstable();
        assert!(all.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
