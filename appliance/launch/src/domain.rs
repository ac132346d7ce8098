//! A domU of Xen's, before it is a configuration that xl reads.

use crate::load::Load;
use control::CHANNEL;
use std::path::{Path, PathBuf};

/// The channel by which every appliance is fed.
pub(crate) const ENTROPY: &str = "org.openmirage.entropy.2";
/// What the appliance works with, beside its bundle, in MiB.
const WORKING_MEMORY: u64 = 64;

/// One domain.
pub(crate) struct Domain<'a> {
    pub(crate) name: &'a str,
    /// By which it is told from any other; without one, xl draws it.
    pub(crate) uuid: Option<&'a str>,
    pub(crate) kernel: &'a Path,
    pub(crate) cargo: &'a Path,
    pub(crate) words: &'a [String],
    pub(crate) megabytes: u64,
    pub(crate) bridge: &'a str,
    /// Where xentropyd finds it.
    pub(crate) entropy: PathBuf,
    /// Where its operator does.
    pub(crate) control: PathBuf,
    /// Xen starts it again when it falls, or when it is asked for.
    pub(crate) again: bool,
}

/// What was asked for, or what the bundle needs: it lies in the guest's memory.
pub(crate) fn memory(asked: Option<u64>, load: &Load) -> u64 {
    let bundle = load.megabytes();
    asked.unwrap_or(WORKING_MEMORY + bundle + bundle / 8)
}

impl Domain<'_> {
    /// The configuration, as xl reads it.
    pub(crate) fn config(&self) -> Result<String, String> {
        let shown = |path: &Path| path.display().to_string();
        let (kernel, cargo) = (shown(self.kernel), shown(self.cargo));
        let (entropy, control) = (shown(&self.entropy), shown(&self.control));
        let words = self.words.join(" ");
        for text in [self.name, &kernel, &cargo, &words, self.bridge, &entropy, &control] {
            plain(text)?;
        }
        let uuid = self.uuid.map(|uuid| format!("uuid = \"{uuid}\"\n")).unwrap_or_default();
        let again = if self.again { "restart" } else { "destroy" };
        Ok(format!(
            "name = \"{name}\"\n\
             {uuid}\
             type = \"pvh\"\n\
             kernel = \"{kernel}\"\n\
             ramdisk = \"{cargo}\"\n\
             cmdline = \"{words}\"\n\
             memory = {memory}\n\
             vcpus = 1\n\
             vif = [\"bridge={bridge}\"]\n\
             # Xen 4.17 loses the first channel.\n\
             channel = [\"connection=pty,name=none\",\n\
             \x20          \"connection=socket,path={entropy},name={ENTROPY}\",\n\
             \x20          \"connection=socket,path={control},name={CHANNEL}\"]\n\
             on_poweroff = \"destroy\"\n\
             on_reboot = \"{again}\"\n\
             on_crash = \"{again}\"\n",
            name = self.name,
            memory = self.megabytes,
            bridge = self.bridge,
        ))
    }
}

/// xl has no way to write some characters.
fn plain(text: &str) -> Result<(), String> {
    let odd = text.chars().find(|character| character.is_control() || "\"'\\,".contains(*character));
    odd.map_or(Ok(()), |odd| {
        Err(format!("{text:?}: {odd:?} cannot stand in a configuration of xl: use another name"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain<'a>(words: &'a [String], bridge: &'a str) -> Domain<'a> {
        Domain {
            name: "web",
            uuid: None,
            kernel: Path::new("/srv/appliance"),
            cargo: Path::new("/srv/web.cargo"),
            words,
            megabytes: 73,
            bridge,
            entropy: PathBuf::from("/run/xen-channels/web.org.openmirage.entropy.2"),
            control: PathBuf::from("/run/gatehouse/web.sock"),
            again: true,
        }
    }

    #[test]
    fn a_domain_has_what_it_needs() {
        let words = ["--address", "192.0.2.7/24", "--gateway", "192.0.2.1"].map(str::to_owned);
        let config = domain(&words, "br1").config().unwrap();
        for line in [
            "name = \"web\"\ntype = \"pvh\"\nkernel = \"/srv/appliance\"\nramdisk = \"/srv/web.cargo\"\n",
            "cmdline = \"--address 192.0.2.7/24 --gateway 192.0.2.1\"\nmemory = 73\n",
            "vif = [\"bridge=br1\"]\n",
            "path=/run/xen-channels/web.org.openmirage.entropy.2,name=org.openmirage.entropy.2\",\n",
            "path=/run/gatehouse/web.sock,name=gatehouse.control\"]\n",
            "on_crash = \"restart\"\n",
        ] {
            assert!(config.contains(line), "{config}");
        }
        let other = Domain { uuid: Some("1-2"), again: false, ..domain(&words, "br1") }.config().unwrap();
        assert!(other.contains("uuid = \"1-2\"\n") && other.contains("on_crash = \"destroy\"\n"), "{other}");
    }

    #[test]
    fn what_xl_would_read_as_something_else_is_refused() {
        let odd = ["192.0.2.7/24\"\nname".to_owned()];
        for (words, bridge) in [(&[][..], "br1,script=x"), (&odd[..], "br1")] {
            let refused = domain(words, bridge).config().unwrap_err();
            assert!(refused.contains("cannot stand in a configuration of xl"), "{refused}");
        }
    }
}
