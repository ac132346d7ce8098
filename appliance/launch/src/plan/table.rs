//! A table of `gatehouse.toml`, read key by key. What was never asked for is unknown, and what is near it was
//! meant.

use super::complaints::{Complaints, Place};
use std::cell::RefCell;
use std::ops::{Range, RangeInclusive};
use std::path::Path;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The file: its name, its text, and where complaints go.
#[derive(Clone, Copy)]
pub(crate) struct Sheet<'a> {
    pub(crate) name: &'a Path,
    pub(crate) text: &'a str,
    pub(crate) complaints: &'a Complaints,
}

impl Sheet<'_> {
    /// The line on which a span begins.
    pub(crate) fn place(&self, span: &Range<usize>) -> Place {
        let before = self.text.as_bytes().get(..span.start).unwrap_or(self.text.as_bytes());
        let line = before.iter().filter(|byte| **byte == b'\n').count();
        Place::line(self.name, line.saturating_add(1))
    }
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) place: Place,
}

/// One table.
pub(crate) struct Table<'a> {
    sheet: Sheet<'a>,
    table: &'a DeTable<'a>,
    name: String,
    pub(crate) place: Place,
    asked: RefCell<Vec<&'static str>>,
}

impl<'a> Table<'a> {
    pub(crate) fn new(sheet: Sheet<'a>, table: &'a DeTable<'a>, name: &str, span: &Range<usize>) -> Self {
        let place = sheet.place(span);
        Self { sheet, table, name: name.to_owned(), place, asked: RefCell::default() }
    }

    pub(crate) fn complaints(&self) -> &'a Complaints {
        self.sheet.complaints
    }

    fn find(&self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.asked.borrow_mut().push(key);
        self.table.iter().find(|(known, _)| known.get_ref() == key).map(|(_, value)| value)
    }

    /// The value of a key, if it is what it has to be.
    fn take<T>(
        &self,
        key: &'static str,
        wanted: &str,
        read: impl FnOnce(&'a DeValue<'a>) -> Option<T>,
    ) -> Option<At<T>> {
        let value = self.find(key)?;
        let place = self.sheet.place(&value.span());
        let Some(value) = read(value.get_ref()) else {
            let found = value.get_ref().type_str();
            self.complaints().wrong(&place, format!("{key} is of the wrong kind ({found})"), wanted);
            return None;
        };
        Some(At { value, place })
    }

    pub(crate) fn text(&self, key: &'static str) -> Option<At<&'a str>> {
        self.take(key, &format!("write it in quotes: {key} = \"…\""), DeValue::as_str)
    }

    /// A text that must be there.
    pub(crate) fn needed(&self, key: &'static str, example: &str) -> Option<At<&'a str>> {
        if !self.has(key) {
            let what = format!("{} has no {key}", self.name);
            self.complaints().wrong(&self.place, what, format!("add a line such as: {key} = \"{example}\""));
        }
        self.text(key)
    }

    pub(crate) fn flag(&self, key: &'static str) -> Option<At<bool>> {
        self.take(key, &format!("write {key} = true or {key} = false"), DeValue::as_bool)
    }

    /// A whole number within bounds.
    pub(crate) fn number(&self, key: &'static str, bounds: RangeInclusive<u32>) -> Option<At<u32>> {
        let wanted = format!("write a whole number from {} to {}", bounds.start(), bounds.end());
        let number = self.take(key, &wanted, |value| {
            let number = value.as_integer()?;
            Some(i64::from_str_radix(number.as_str(), number.radix()).unwrap_or(i64::MAX))
        })?;
        match u32::try_from(number.value).ok().filter(|value| bounds.contains(value)) {
            Some(value) => Some(At { value, place: number.place }),
            None => {
                self.complaints().wrong(&number.place, format!("{key} is out of bounds"), wanted);
                None
            }
        }
    }

    /// One text or a list of them.
    pub(crate) fn texts(&self, key: &'static str) -> Vec<At<&'a str>> {
        let Some(value) = self.find(key) else { return Vec::new() };
        let place = self.sheet.place(&value.span());
        let items = match value.get_ref() {
            DeValue::Array(items) => items.iter().map(|item| (item.get_ref(), item.span())).collect(),
            one => vec![(one, value.span())],
        };
        let read = |(item, span): (&'a DeValue<'a>, Range<usize>)| {
            let text = item.as_str().map(|value| At { value, place: self.sheet.place(&span) });
            if text.is_none() {
                let remedy = format!("write {key} = [\"one\", \"two\"]");
                self.complaints().wrong(&place, format!("{key} is a list of texts"), remedy);
            }
            text
        };
        items.into_iter().filter_map(read).collect()
    }

    pub(crate) fn table(&self, key: &'static str) -> Option<Table<'a>> {
        let table = self.take(key, &format!("write it as a table: [{key}]"), DeValue::as_table)?;
        Some(Self::at(self.sheet, table.value, key, table.place))
    }

    /// A table of keys that the operator chooses, such as status codes.
    pub(crate) fn pairs(&self, key: &'static str) -> Vec<(At<&'a str>, At<&'a str>)> {
        let Some(table) = self.take(key, &format!("write it as a table: [{key}]"), DeValue::as_table) else {
            return Vec::new();
        };
        let pair = |(name, value): (&'a Spanned<_>, &'a Spanned<DeValue<'a>>)| {
            let name: &Spanned<toml::de::DeString<'a>> = name;
            let place = self.sheet.place(&name.span());
            let text = value.get_ref().as_str();
            if text.is_none() {
                self.complaints().wrong(
                    &place,
                    format!("{name} is not a text", name = name.get_ref()),
                    "write it in quotes",
                );
            }
            Some((At { value: &**name.get_ref(), place: place.clone() }, At { value: text?, place }))
        };
        table.value.iter().filter_map(pair).collect()
    }

    /// Every table of a list such as `[[site]]`.
    pub(crate) fn tables(&self, key: &'static str) -> Vec<Table<'a>> {
        let wanted = format!("begin each with a line [[{key}]]");
        let Some(list) = self.take(key, &wanted, DeValue::as_array) else { return Vec::new() };
        let read = |item: &'a Spanned<DeValue<'a>>| {
            let place = self.sheet.place(&item.span());
            let table = item.get_ref().as_table();
            if table.is_none() {
                self.complaints().wrong(&place, format!("{key} is a list of tables"), wanted.clone());
            }
            Some(Self::at(self.sheet, table?, key, place))
        };
        list.value.iter().filter_map(read).collect()
    }

    /// True when the key is there, whatever it is.
    pub(crate) fn has(&self, key: &'static str) -> bool {
        self.table.keys().any(|known| known.get_ref() == key)
    }

    /// True when the key is there and is a table.
    pub(crate) fn is_table(&self, key: &'static str) -> bool {
        self.find(key).is_some_and(|value| value.get_ref().is_table())
    }

    fn at(sheet: Sheet<'a>, table: &'a DeTable<'a>, name: &str, place: Place) -> Self {
        Self { sheet, table, name: format!("this {name}"), place, asked: RefCell::default() }
    }

    /// Complains about every key that nobody asked for.
    pub(crate) fn done(self) {
        let asked = self.asked.borrow();
        for key in self.table.keys().filter(|key| !asked.contains(&key.get_ref().as_ref())) {
            let meant = world::words::meant(key.get_ref(), asked.iter().copied());
            let remedy = meant.map_or_else(
                || format!("known here are: {}", asked.join(", ")),
                |meant| format!("{meant} was meant?"),
            );
            let place = self.sheet.place(&key.span());
            self.complaints().wrong(&place, format!("unknown key {:?}", key.get_ref()), remedy);
        }
    }
}
