//! Whether a job did what it had to.   ids in ─► [`fate`] of each;   rows and dead letters as a witness saw them ─► [`of`]
//!
//! in = out + filtered + dead letters, each once; every row scored by one version, and by no older one than the row before it in
//! its partition; rows that went from one input to one output partition in their order.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde_json::Value;

use super::witness::Seen;

/// What must become of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// It does not decode: a dead letter.
    Decode,
    /// The query leaves it out.
    Filtered,
    /// An expression fails: a dead letter.
    Expression,
    /// A row.
    Row,
}

/// What must become of the input with this id.
pub fn fate(id: u64) -> Fate {
    match id {
        _ if id % 37 == 5 => Fate::Decode,
        _ if id % 10 == 3 => Fate::Filtered,
        _ if id % 997 == 50 => Fate::Expression,
        _ => Fate::Row,
    }
}

/// What a job wrote.
#[derive(Default)]
struct Written {
    /// Each id's rows: input partition and offset, version.
    rows: BTreeMap<u64, Vec<(i32, i64, u64)>>,
    /// Each id's dead letters: their reasons.
    letters: BTreeMap<u64, Vec<String>>,
    /// What is wrong with single records.
    wrong: Vec<String>,
}

/// Judges job `job`, whose input was the ids below `ids`. `answers` is what each version of its model answers.
pub fn of(
    job: &str,
    once: bool,
    ids: u64,
    rows: &[Seen],
    letters: &[Seen],
    answers: &BTreeMap<u64, f64>,
) -> Result<String, String> {
    let mut written = Written::default();
    written.take_rows(job, once, rows, answers);
    written.take_letters(job, letters);
    if once {
        written.versions();
    }
    written.count(ids, once);
    let Written { rows, letters, wrong } = written;
    if !wrong.is_empty() {
        let mut text = format!("{} things are wrong with {ids} inputs; the first:", wrong.len());
        wrong.iter().take(30).for_each(|one| write!(text, "\n  {one}").unwrap());
        return Err(text);
    }
    let all = |map: &BTreeMap<u64, Vec<String>>| map.values().map(Vec::len).sum::<usize>();
    let versions: BTreeSet<u64> = rows.values().flatten().map(|row| row.2).collect();
    let filtered = (0..ids).filter(|id| fate(*id) == Fate::Filtered).count();
    let (out, dead) = (rows.values().map(Vec::len).sum::<usize>(), all(&letters));
    let how = if once { "each exactly once" } else { "each at least once" };
    Ok(format!(
        "{job}: {ids} in = {out} out + {filtered} filtered + {dead} dead letters, {how}, by {} versions of {}",
        versions.len(),
        answers.len()
    ))
}

impl Written {
    fn take_rows(&mut self, job: &str, once: bool, rows: &[Seen], answers: &BTreeMap<u64, f64>) {
        // The newest input offset of each way from an input to an output partition, with the offset of its row.
        let mut ways: BTreeMap<(i32, i32), (i64, i64)> = BTreeMap::new();
        for seen in rows {
            let row: Value = serde_json::from_str(&seen.value).unwrap_or_default();
            if row["job"] != job {
                continue;
            }
            let number = |name: &str| row[name].as_i64();
            let (Some(id), Some(p), Some(o), Some(v)) = (number("id"), number("p"), number("o"), number("v")) else {
                self.wrong.push(format!("row {seen:?} lacks a column"));
                continue;
            };
            let (id, p, v) = (id.unsigned_abs(), i32::try_from(p).unwrap_or(-1), v.unsigned_abs());
            if row["s"].as_f64() != answers.get(&v).copied() {
                self.wrong.push(format!(
                    "id {id}: version {v} answers {:?}, and the row says {}",
                    answers.get(&v),
                    row["s"]
                ));
            }
            if let Some((before, at)) = ways.insert((p, seen.partition), (o, seen.offset))
                && once
                && before >= o
            {
                let (to, here) = (seen.partition, seen.offset);
                self.wrong.push(format!("id {id}: {p}/{o} at {to}/{here} comes behind {p}/{before} at {to}/{at}"));
            }
            self.rows.entry(id).or_default().push((p, o, v));
        }
    }

    fn take_letters(&mut self, job: &str, letters: &[Seen]) {
        for seen in letters.iter().filter(|seen| seen.header("vatic.job") == Some(job)) {
            let id = seen.value.trim_start_matches("poison ").trim_start_matches("{\"id\":").trim_end_matches('}');
            match (id.parse(), seen.header("vatic.reason")) {
                (Ok(id), Some(reason)) => self.letters.entry(id).or_default().push(reason.to_owned()),
                _ => self.wrong.push(format!("dead letter {seen:?} is none of the inputs")),
            }
        }
    }

    /// Along an input partition versions never go back.
    fn versions(&mut self) {
        let mut order: BTreeMap<(i32, i64), (u64, u64)> = BTreeMap::new();
        for (id, rows) in &self.rows {
            order.extend(rows.iter().map(|(p, o, v)| ((*p, *o), (*v, *id))));
        }
        let mut newest: BTreeMap<i32, (u64, i64)> = BTreeMap::new();
        for ((p, o), (v, id)) in order {
            let before = newest.insert(p, (v, o));
            if let Some((other, at)) = before.filter(|(other, _)| *other > v) {
                self.wrong.push(format!("id {id}: version {v} at {p}/{o}, behind version {other} at {p}/{at}"));
            }
        }
    }

    /// Each input once.
    fn count(&mut self, ids: u64, once: bool) {
        let known: Vec<u64> = self.rows.keys().chain(self.letters.keys()).copied().filter(|id| *id >= ids).collect();
        self.wrong.extend(known.iter().map(|id| format!("id {id} was never written")));
        for id in 0..ids {
            let (rows, letters) = (self.rows.get(&id).map_or(0, Vec::len), self.letters.get(&id).map_or(0, Vec::len));
            let reason = self.letters.get(&id).and_then(|letters| letters.first()).map_or("", String::as_str);
            let enough = |count: usize| if once { count == 1 } else { count >= 1 };
            let fate = fate(id);
            let right = match fate {
                Fate::Row => enough(rows) && letters == 0,
                Fate::Filtered => rows == 0 && letters == 0,
                Fate::Decode => rows == 0 && enough(letters) && reason == "decode",
                Fate::Expression => rows == 0 && enough(letters) && reason == "expression",
            };
            if !right {
                let at = self.rows.get(&id).map_or(String::new(), |rows| format!(": {rows:?}"));
                self.wrong.push(format!("id {id} ({fate:?}): {rows} rows and {letters} dead letters {reason}{at}"));
            }
        }
    }
}

mod tests {
    use super::*;

    fn seen(offset: i64, value: &str) -> Seen {
        Seen::parse(&format!("Partition:0\tOffset:{offset}\tNO_HEADERS\t{value}")).unwrap()
    }

    fn row(id: u64, version: u64) -> String {
        format!("{{\"id\":{id},\"job\":\"j\",\"p\":0,\"o\":{id},\"v\":{version},\"s\":{version}.0}}")
    }

    /// A verdict that finds nothing wrong would prove nothing: each of these is a wrong that it must find.
    #[test]
    fn what_is_wrong_is_found() {
        let answers = BTreeMap::from([(1, 1.0), (2, 2.0)]);
        let of = |rows: &[String], letters: &[Seen], once: bool| {
            let rows: Vec<Seen> = (0..).zip(rows).map(|(offset, value)| seen(offset, value)).collect();
            super::of("j", once, 6, &rows, letters, &answers)
        };
        let letter = || {
            let headers = "vatic.job:j,vatic.partition:0,vatic.offset:5,vatic.reason:decode";
            vec![Seen::parse(&format!("Partition:0\tOffset:0\t{headers}\tpoison 5")).unwrap()]
        };
        let good = [row(0, 1), row(1, 1), row(2, 2), row(4, 2)];
        assert!(of(&good, &letter(), true).unwrap().starts_with("j: 6 in = 4 out + 1 filtered + 1 dead letters"));
        let wrong = |rows: &[String], letters: &[Seen], text: &str| {
            let found = of(rows, letters, true).unwrap_err();
            assert!(found.contains(text), "{found}");
        };
        wrong(&good[..3], &letter(), "id 4 (Row): 0 rows");
        wrong(&good, &[], "id 5 (Decode): 0 rows and 0 dead letters");
        wrong(&[&good[..], &[row(4, 2)]].concat(), &letter(), "id 4 (Row): 2 rows");
        wrong(&[row(0, 1), row(1, 2), row(2, 1), row(4, 2)], &letter(), "version 1 at 0/2, behind version 2 at 0/1");
        wrong(&[row(1, 1), row(0, 1), row(2, 2), row(4, 2)], &letter(), "0/0 at 0/1 comes behind 0/1 at 0/0");
        wrong(&[&good[..], &[row(3, 2)]].concat(), &letter(), "id 3 (Filtered): 1 rows");
        wrong(&[&good[..], &[row(9, 2)]].concat(), &letter(), "id 9 was never written");
        let mixed = row(4, 2).replace("2.0", "1.0");
        wrong(&[&good[..3], &[mixed]].concat(), &letter(), "version 2 answers Some(2.0)");
        // Doubles and older versions of a repeated row are allowed where that is promised, losses are not.
        assert!(of(&[&good[..], &[row(4, 1)]].concat(), &letter(), false).is_ok());
        assert!(of(&good[..3], &letter(), false).is_err());
    }
}
