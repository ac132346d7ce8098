//! What the host asks of the machine as a whole: `control/shutdown` in xenstore.

use crate::store::{Store, Subject};

const SHUTDOWN: &str = "control/shutdown";
/// What each part of the host reads before it asks. Whether we can be suspended xl reads nowhere: it waits a minute for
/// an answer, unless there is a port to ask through. Port 0 is nobody's, so that it gives up at once.
const ABILITIES: [(&str, &str); 4] = [
    ("control/feature-poweroff", "1"),
    ("control/feature-reboot", "1"),
    ("control/feature-suspend", "0"),
    ("device/suspend/event-channel", "0"),
];

/// What the host wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// An end.
    PowerOff,
    /// An end, and a new beginning.
    Reboot,
    /// Something that is not done here.
    Impossible(String),
}

/// Says which wishes are granted, and listens for them.
pub(crate) fn introduce(store: &mut Store) {
    for (path, value) in ABILITIES {
        let _ = store.write(path, value);
    }
    let _ = store.watch(SHUTDOWN, Subject::Control);
}

/// What the host wants now. Only what will be done is acknowledged: the host gives up the rest after a while.
pub(crate) fn wish(store: &mut Store) -> Option<Wish> {
    let wish = match store.read(SHUTDOWN).ok()?.as_str() {
        "" => return None,
        "poweroff" | "halt" => Wish::PowerOff,
        "reboot" => Wish::Reboot,
        other => Wish::Impossible(other.chars().take(32).collect()),
    };
    if !matches!(wish, Wish::Impossible(_)) {
        let _ = store.write(SHUTDOWN, "");
    }
    Some(wish)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::Pretend;

    #[test]
    fn a_wish_that_is_granted_is_acknowledged_and_another_is_not() {
        let host = Pretend::new();
        let mut store = host.store();
        introduce(&mut store);
        for (path, value) in [("control/feature-poweroff", "1"), ("control/feature-suspend", "0")] {
            assert_eq!(host.at(path).as_deref(), Some(value));
        }
        assert_eq!(host.at("device/suspend/event-channel").as_deref(), Some("0"));
        assert_eq!(wish(&mut store), None);
        for (said, wanted, left) in [
            ("poweroff", Wish::PowerOff, ""),
            ("halt", Wish::PowerOff, ""),
            ("reboot", Wish::Reboot, ""),
            ("suspend", Wish::Impossible("suspend".into()), "suspend"),
        ] {
            host.set(SHUTDOWN, said);
            assert_eq!(wish(&mut store), Some(wanted));
            assert_eq!(host.at(SHUTDOWN).as_deref(), Some(left));
        }
        host.set(SHUTDOWN, "");
        assert_eq!(wish(&mut store), None);
    }
}
