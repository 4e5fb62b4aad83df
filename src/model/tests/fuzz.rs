//! Fuzzing without tools: real inputs, harmed by chance from a seed, given to every decoder (ring D of
//! docs/TESTING.md).
//!
//! Each decoder has a target: real inputs, the words of its language, a way to make checksums right again, and what has
//! to hold for any input. What holds for all of them: no panic, no case of more than [`CASE_MAX`], and neither
//! acceptance nor refusal alone, for then the decoder behind the first check was never reached. Inputs that get an
//! answer which no input got before are kept and harmed further; that is all the guidance there is, no coverage is
//! measured.
//!
//! | variable | means |
//! | --- | --- |
//! | `WHIMBREL_FUZZ_CASES` | cases of each target, 3,000 unless said |
//! | `WHIMBREL_FUZZ_SECONDS` | longest time of each target |
//! | `WHIMBREL_FUZZ_SEED` | chance; a long run draws one and prints it |
//!
//! An input that breaks something is written down with the seed. Once it is understood it goes to
//! `tests/fuzz/<target>/`, which every run starts with.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use xxhash_rust::xxh3::xxh3_64;

/// Cases of a run that does not say.
const CASES_DEFAULT: u64 = 3_000;
/// Longest input.
const INPUT_BYTES_MAX: usize = 16 << 10;
/// Inputs kept because of their answers.
const KEPT_MAX: usize = 2_000;
/// A case that takes longer hangs, on any machine.
const CASE_MAX: Duration = Duration::from_secs(20);

/// One decoder and what has to hold for it.
pub(crate) struct Target<'a> {
    /// Names it, and its folder below `tests/fuzz/`.
    pub(crate) name: &'a str,
    /// Real inputs besides those in the folder.
    pub(crate) seeds: Vec<Vec<u8>>,
    /// Pieces that inputs of this kind are made of.
    pub(crate) words: &'a [&'a str],
    /// Makes checksums right, so that the decoder behind them is reached.
    pub(crate) repair: Option<fn(&mut Vec<u8>)>,
    /// Decodes; panics when something does not hold. Why the input was refused, if it was.
    pub(crate) check: fn(&[u8]) -> Result<(), String>,
}

/// What a run found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    cases: u64,
    accepted: u64,
    refused: u64,
    answers: HashSet<u64>,
    slowest: Duration,
}

/// How long to go on, and with what chance.
struct Plan {
    cases: u64,
    until: Option<Instant>,
    seed: u64,
}

impl Plan {
    fn from_environment() -> Plan {
        let number = |name: &str| {
            let text = std::env::var(name).ok()?;
            Some(text.parse::<u64>().unwrap_or_else(|_| panic!("{name} is a whole number, not {text}")))
        };
        let (cases, seconds) = (number("WHIMBREL_FUZZ_CASES"), number("WHIMBREL_FUZZ_SECONDS"));
        let is_long = cases.is_some() || seconds.is_some();
        let seed = number("WHIMBREL_FUZZ_SEED");
        Plan {
            cases: cases.unwrap_or(if seconds.is_some() { u64::MAX } else { CASES_DEFAULT }),
            until: seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds)),
            seed: seed.unwrap_or_else(|| if is_long { rand::random() } else { 1 }),
        }
    }
}

impl Target<'_> {
    /// Runs as the environment says.
    #[track_caller]
    pub(crate) fn run(self) {
        let plan = Plan::from_environment();
        let seed = plan.seed;
        let found = self.run_plan(&plan);
        let Found { cases, accepted, refused, answers, slowest } = &found;
        println!(
            "fuzz {}: {cases} cases, {accepted} accepted, {refused} refused, {} answers, slowest {:.1} ms, seed {seed}",
            self.name,
            answers.len(),
            slowest.as_secs_f64() * 1e3,
        );
        assert!(*accepted > 0 && *refused > 0, "{}: one kind of answer only: {found:?}", self.name);
    }

    fn run_plan(&self, plan: &Plan) -> Found {
        let mut found = Found::default();
        let mut pool = self.seeds.clone();
        pool.extend(kept_inputs(self.name));
        assert!(!pool.is_empty(), "{} has no real inputs", self.name);
        let dice = &mut Dice(plan.seed ^ xxh3_64(self.name.as_bytes()));
        for input in &pool {
            self.judge(input, plan.seed, &mut found);
        }
        let real = pool.len();
        while found.cases < plan.cases && plan.until.is_none_or(|until| Instant::now() < until) {
            // Real inputs first: harm upon harm is refused at once by most decoders.
            let from = if dice.below(3) > 0 { real } else { pool.len() };
            let mut input = dice.pick(&pool[..from]).clone();
            for _ in 0..=dice.below(3) * dice.below(3) {
                self.harm(&mut input, &pool, dice);
            }
            input.truncate(INPUT_BYTES_MAX);
            if let Some(repair) = self.repair
                && dice.below(8) > 0
            {
                repair(&mut input);
            }
            let is_new = self.judge(&input, plan.seed, &mut found);
            if is_new && pool.len() < real + KEPT_MAX {
                pool.push(input);
            }
        }
        found
    }

    /// Whether the answer is a new one.
    fn judge(&self, input: &[u8], seed: u64, found: &mut Found) -> bool {
        let begun = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| (self.check)(input)));
        let took = begun.elapsed();
        found.cases += 1;
        found.slowest = found.slowest.max(took);
        let Ok(answer) = outcome else { self.broken(input, seed, "panicked") };
        if took > CASE_MAX {
            self.broken(input, seed, &format!("took {took:?}"));
        }
        let answer = match answer {
            Ok(()) => {
                found.accepted += 1;
                // Accepted inputs differ by their size, roughly.
                format!("accepted {}", input.len().max(1).ilog2())
            }
            Err(why) => {
                found.refused += 1;
                shape_of(&why)
            }
        };
        found.answers.insert(xxh3_64(answer.as_bytes()))
    }

    fn broken(&self, input: &[u8], seed: u64, how: &str) -> ! {
        let name = format!("whimbrel-fuzz-{}-{:016x}", self.name, xxh3_64(input));
        let path = std::env::temp_dir().join(name);
        let kept = fs::write(&path, input);
        panic!(
            "{} {how} (seed {seed}) on \"{}\"; the input is in {} ({kept:?}) and belongs to tests/fuzz/{}/",
            self.name,
            input.escape_ascii(),
            path.display(),
            self.name,
        );
    }

    /// One small harm.
    fn harm(&self, input: &mut Vec<u8>, pool: &[Vec<u8>], dice: &mut Dice) {
        let at = dice.below(input.len() + 1);
        match dice.below(10) {
            0 => flip(input, at, 1 << dice.below(8)),
            1 => flip(input, at, u8::try_from(dice.below(256)).unwrap()),
            2 => drop(input.splice(at..(at + dice.span(input.len() - at)), [])),
            3 => input.truncate(at),
            4 => {
                // Again what stands somewhere: repeats, deeper nesting.
                let from = dice.below(input.len() + 1);
                let copied = input[from..from + dice.span(input.len() - from)].to_vec();
                input.splice(at..at, copied);
            }
            5 => {
                let other = dice.pick(pool);
                let from = dice.below(other.len() + 1);
                let copied = other[from..from + dice.span(other.len() - from)].to_vec();
                input.splice(at..(at + dice.span(input.len() - at)), copied);
            }
            6 => {
                let odd: [&[u8]; 10] = [
                    b"",
                    b"\0",
                    b"\xff\xff\xff\xff",
                    b"\x80",
                    b"\n",
                    b" ",
                    b"\xc3\xbc",
                    b"\"",
                    b"\\",
                    b"%00",
                ];
                let piece = *dice.pick(&odd);
                input.splice(at..at, piece.iter().copied());
            }
            7 => {
                let odd = [
                    "0",
                    "-1",
                    "1",
                    "255",
                    "65536",
                    "4294967296",
                    "9007199254740992",
                    "18446744073709551615",
                    "18446744073709551616",
                    "1e400",
                    "0.1",
                ];
                let number = odd[dice.below(odd.len())];
                replace_number(input, at, number);
            }
            _ if self.words.is_empty() => flip(input, at, 0xff),
            _ => {
                let word = dice.pick(self.words).as_bytes().to_vec();
                let gone = if dice.below(2) == 0 { 0 } else { dice.span(input.len() - at) };
                input.splice(at..(at + gone), word);
            }
        }
    }
}

fn flip(input: &mut [u8], at: usize, bits: u8) {
    if let Some(byte) = input.get_mut(at) {
        *byte ^= bits;
    }
}

/// Puts `number` in the place of the first digits at or behind `at`.
fn replace_number(input: &mut Vec<u8>, at: usize, number: &str) {
    let Some(start) = input[at..].iter().position(u8::is_ascii_digit).map(|skip| at + skip) else { return };
    let digits = input[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    input.splice(start..start + digits, number.bytes());
}

/// An answer without what changes from input to input: numbers, and what is quoted of it.
fn shape_of(answer: &str) -> String {
    let mut shape = String::new();
    let mut quote = None;
    for character in answer.chars() {
        match quote {
            Some(open) if character == open => quote = None,
            Some(_) => {}
            None if matches!(character, '\'' | '"' | '`') => quote = Some(character),
            None if character.is_ascii_digit() => {}
            None => shape.push(character),
        }
    }
    shape.truncate(shape.char_indices().nth(120).map_or(shape.len(), |(at, _)| at));
    shape
}

/// The inputs that are kept in the tree for a target, in order of their names.
fn kept_inputs(name: &str) -> Vec<Vec<u8>> {
    let folder: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests", "fuzz", name].iter().collect();
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths: BTreeSet<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`; 0 when there is none.
    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % (limit.max(1) as u64)).unwrap()
    }

    /// A length up to `most`, small ones more often.
    fn span(&mut self, most: usize) -> usize {
        let bound = [1, 2, 4, 8, 32, 200, most][self.below(7)];
        self.below(bound.min(most) + 1)
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

/// What decodes is encoded and decoded again; it must be the same.
#[track_caller]
pub(crate) fn same<T: PartialEq + std::fmt::Debug>(decoded: &T, again: &T) {
    assert_eq!(decoded, again, "decoded, encoded and decoded again it is something else");
}

/// A target whose input is text.
pub(crate) fn text(input: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(input).map_err(|_| "not UTF-8".to_owned())
}

#[test]
fn a_planted_bug_is_found_and_a_harmless_target_is_not() {
    let plan = || Plan { cases: 20_000, until: None, seed: 7 };
    let target = |check| Target {
        name: "planted",
        seeds: vec![br#"{"count":3,"name":"x"}"#.to_vec()],
        words: &["\"deep\"", ":"],
        repair: None,
        check,
    };
    let harmless = target(|input| text(input).map(|_| ()));
    let found = harmless.run_plan(&plan());
    assert!(found.cases == 20_000 && found.accepted > 1_000 && found.refused > 1_000, "{found:?}");
    let planted = target(|input| {
        let text = text(input)?;
        assert!(!(text.contains("65536") && text.contains("\"deep\"")), "planted");
        Ok(())
    });
    let caught = catch_unwind(AssertUnwindSafe(|| planted.run_plan(&plan()))).unwrap_err();
    let said = caught.downcast_ref::<String>().unwrap();
    assert!(said.contains("(seed 7)") && said.contains("65536"), "{said}");
    let path = said.split(" is in ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
    assert!(fs::read_to_string(path).unwrap().contains("65536"));
    fs::remove_file(path).unwrap();
}

#[test]
fn the_same_seed_makes_the_same_run() {
    let answers = || {
        let target = Target {
            name: "repeat",
            seeds: vec![b"abc 12".to_vec()],
            words: &["x"],
            repair: None,
            check: |input| Err(input.escape_ascii().to_string().replace(|c: char| c.is_ascii_digit(), "d")),
        };
        target.run_plan(&Plan { cases: 500, until: None, seed: 9 }).answers
    };
    assert_eq!(answers(), answers());
}
