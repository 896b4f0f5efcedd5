//! Fuzzing as tests: a [`Target`] checks a property of each input of its corpus, and of inputs that are made from them by random
//! changes. CONTRIBUTING.md says how to run one for long, and how to add an input that failed.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};

/// The variable that sets the number of inputs of each target. The inputs are other ones in each run then.
const CASES: &str = "EGRET_FUZZ_CASES";

/// The variable that names the file of the only input to check.
const INPUT: &str = "EGRET_FUZZ_INPUT";

/// What is fuzzed, and with what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    /// The directory of the corpus below `gateway/tests/corpus`, or one of the repository that begins with `../`.
    pub(crate) corpus: &'static str,
    /// Texts that mean something to the code under test.
    pub(crate) words: &'static [&'static str],
    /// Number of inputs of a run of all tests.
    pub(crate) cases: u32,
    /// Maximum length of an input, in bytes.
    pub(crate) longest: usize,
}

impl Target {
    /// Checks a property, which panics if it does not hold. Without [`CASES`] the inputs are the same in each run.
    pub(crate) fn check(&self, property: impl Fn(&[u8])) {
        if let Some(path) = std::env::var_os(INPUT) {
            return property(&fs::read(path).unwrap());
        }
        let corpus = Arc::new(self.corpus());
        for (path, input) in corpus.iter() {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| property(input))) {
                panic!("{}: {}", path.display(), told(&*panic));
            }
        }
        let cases = std::env::var(CASES).ok().map(|cases| cases.parse().expect("a number of inputs"));
        let config = Config {
            cases: cases.unwrap_or(self.cases),
            rng_seed: if cases.is_some() { RngSeed::Random } else { RngSeed::Fixed(19) },
            failure_persistence: None,
            max_shrink_iters: 4096,
            ..Config::default()
        };
        let seeds: Arc<Vec<_>> = Arc::new(corpus.iter().map(|(_, input)| input.clone()).collect());
        let (words, longest) = (self.words, self.longest);
        let inputs = (any::<Index>(), vec(change(), 1..8)).prop_map(move |(seed, changes)| {
            let mut input = seeds[seed.index(seeds.len())].clone();
            for change in &changes {
                change.apply(&mut input, &seeds, words);
                input.truncate(longest);
            }
            input
        });
        // A process that is aborted says nothing of its input.
        let running = cases.map(|_| self.path("running"));
        let outcome = TestRunner::new(config).run(&inputs, |input| {
            if let Some(path) = &running {
                fs::write(path, &input).unwrap();
            }
            catch_unwind(AssertUnwindSafe(|| property(&input))).map_err(|panic| TestCaseError::fail(told(&*panic)))
        });
        match outcome {
            Ok(()) => {}
            Err(TestError::Fail(why, input)) => {
                let mut hasher = DefaultHasher::new();
                input.hash(&mut hasher);
                let path = self.path(&format!("{:016x}", hasher.finish()));
                fs::write(&path, &input).unwrap();
                panic!("{why}\nwith \"{}\"\nwhich is in {}", input.escape_ascii(), path.display());
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Returns the inputs of the corpus with their paths, in the order of these.
    fn corpus(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(self.corpus);
        let entries = fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect();
        paths.sort();
        assert!(!paths.is_empty(), "{} is empty", directory.display());
        let read = |path: PathBuf| {
            let mut input = fs::read(&path).unwrap();
            input.truncate(self.longest);
            (path, input)
        };
        paths.into_iter().map(read).collect()
    }

    /// Returns where an input is kept that the corpus does not have.
    fn path(&self, name: &str) -> PathBuf {
        let directory = std::env::temp_dir().join("egret-fuzz");
        fs::create_dir_all(&directory).unwrap();
        directory.join(format!("{}-{name}", self.corpus.trim_start_matches("../").replace('/', "-")))
    }
}

/// Returns the message of a panic.
fn told(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned()
}

/// A change to an input.
#[derive(Clone, Debug)]
enum Change {
    /// A byte is replaced.
    Set(Index, u8),
    /// A bit is inverted.
    Flip(Index, u8),
    /// Bytes are inserted.
    Insert(Index, Vec<u8>),
    /// A word of the target is inserted.
    Word(Index, Index),
    /// A word of the target replaces as many bytes.
    Over(Index, Index),
    /// A number that is often a bound replaces bytes.
    Number(Index, Index, bool),
    /// Bytes are removed.
    Remove(Index, usize),
    /// Bytes are repeated so many times.
    Repeat(Index, usize, usize),
    /// A part of another input of the corpus is inserted.
    Splice(Index, Index, Index, usize),
    /// The rest is cut off.
    Cut(Index),
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<Index>;
    prop_oneof![
        3 => (at(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        2 => (at(), 0..8u8).prop_map(|(at, bit)| Change::Flip(at, bit)),
        2 => (at(), vec(any::<u8>(), 1..5)).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        5 => (at(), at()).prop_map(|(at, word)| Change::Word(at, word)),
        2 => (at(), at()).prop_map(|(at, word)| Change::Over(at, word)),
        2 => (at(), at(), any::<bool>()).prop_map(|(at, number, text)| Change::Number(at, number, text)),
        4 => (at(), 1..24usize).prop_map(|(at, length)| Change::Remove(at, length)),
        2 => (at(), 1..48usize, 1..80usize).prop_map(|(at, length, times)| Change::Repeat(at, length, times)),
        3 => (at(), at(), at(), 1..200usize).prop_map(|(at, seed, from, length)| Change::Splice(at, seed, from, length)),
        1 => at().prop_map(Change::Cut),
    ]
}

/// Numbers that are often a bound.
const NUMBERS: [u64; 12] = [
    0,
    1,
    0x7f,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
    253_402_300_800,
    0x7fff_ffff_ffff_ffff,
    0xffff_ffff_ffff_fffe,
    0xffff_ffff_ffff_ffff,
];

impl Change {
    fn apply(&self, input: &mut Vec<u8>, seeds: &[Vec<u8>], words: &[&str]) {
        let place = |at: &Index, input: &[u8]| at.index(input.len() + 1);
        match self {
            Self::Set(at, byte) if !input.is_empty() => {
                let at = at.index(input.len());
                input[at] = *byte;
            }
            Self::Flip(at, bit) if !input.is_empty() => {
                let at = at.index(input.len());
                input[at] ^= 1 << bit;
            }
            Self::Insert(at, bytes) => {
                let at = place(at, input);
                input.splice(at..at, bytes.iter().copied());
            }
            Self::Word(at, word) if !words.is_empty() => {
                let at = place(at, input);
                input.splice(at..at, word.get(words).bytes());
            }
            Self::Over(at, word) if !words.is_empty() => {
                let (at, word) = (place(at, input), word.get(words));
                let end = (at + word.len()).min(input.len());
                input.splice(at..end, word.bytes());
            }
            Self::Number(at, number, as_text) => {
                let (at, number) = (place(at, input), *number.get(&NUMBERS));
                let short = usize::from(number > 0xff) + 1;
                let bytes =
                    if *as_text { number.to_string().into_bytes() } else { number.to_be_bytes()[8 - short..].to_vec() };
                // A number in digits takes the place of the digits there.
                let digits = input[at..].iter().take_while(|byte| *as_text && byte.is_ascii_digit()).count();
                let end = (at + if *as_text { digits } else { bytes.len() }).min(input.len());
                input.splice(at..end, bytes);
            }
            Self::Remove(at, length) => {
                let at = place(at, input);
                input.drain(at..(at + length).min(input.len()));
            }
            Self::Repeat(at, length, times) => {
                let at = place(at, input);
                let part = input[at..(at + length).min(input.len())].repeat(*times);
                input.splice(at..at, part);
            }
            Self::Splice(at, seed, from, length) => {
                let (at, seed) = (place(at, input), seed.get(seeds));
                let from = place(from, seed);
                input.splice(at..at, seed[from..(from + length).min(seed.len())].iter().copied());
            }
            Self::Cut(at) => input.truncate(at.index(input.len() + 1)),
            Self::Set(..) | Self::Flip(..) | Self::Word(..) | Self::Over(..) => {}
        }
    }
}
