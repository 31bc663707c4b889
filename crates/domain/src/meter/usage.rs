//! What a `usage` object reports, as much of it as can be believed.
//!
//! Sources: the API references of OpenAI (chat completions, responses) and Anthropic (messages, "Usage").

use super::names::Part;

/// More tokens than any answer can cost. A larger number is noise, and sums of it would overflow
/// where the rows are added up.
pub const MAX_TOKENS: u64 = 1_000_000_000_000;

/// The numbers of one answer, gathered from all that reports some of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    total: Option<u64>,
    prompt: Option<u64>,
    completion: Option<u64>,
    input: Option<u64>,
    output: Option<u64>,
    cache_write: Option<u64>,
    cache_read: Option<u64>,
}

impl Usage {
    /// Notes a number as it is written: whole, not negative and not absurd, else it is passed over.
    pub fn note(&mut self, part: Part, number: &[u8]) {
        let number = std::str::from_utf8(number).ok().and_then(|number| number.parse().ok());
        if let Some(number) = number.filter(|number| *number <= MAX_TOKENS) {
            *self.part(part) = Some(number);
        }
    }

    /// Takes what a later report says. Each says how much it is so far, so the later number holds; but a
    /// zero never takes the place of more, and a total that is no longer reported is none.
    pub fn update(&mut self, later: Self) {
        let holds = |number: Option<u64>| number.is_some_and(|number| number > 0);
        if later.sum().is_some_and(|sum| sum > 0) && !holds(later.total) {
            self.total = None;
        }
        for part in ALL {
            let (own, later) = (self.part(part), *{ later }.part(part));
            if holds(later) || own.is_none() {
                *own = later;
            }
        }
    }

    /// The tokens: the total, else the sum of its parts. `None` where nothing was reported.
    pub fn tokens(&self) -> Option<u64> {
        let (total, sum) = (self.total, self.sum());
        total.filter(|total| *total > 0).or(sum).or(total)
    }

    /// The sum of the parts, under the names that OpenAI's chats have for them, or all others.
    fn sum(&self) -> Option<u64> {
        let chat = add([self.prompt, self.completion]);
        let others = add([self.input, self.output, self.cache_write, self.cache_read]);
        chat.filter(|chat| *chat > 0).or(others).or(chat)
    }

    fn part(&mut self, part: Part) -> &mut Option<u64> {
        match part {
            Part::Total => &mut self.total,
            Part::Prompt => &mut self.prompt,
            Part::Completion => &mut self.completion,
            Part::Input => &mut self.input,
            Part::Output => &mut self.output,
            Part::CacheWrite => &mut self.cache_write,
            Part::CacheRead => &mut self.cache_read,
        }
    }
}

const ALL: [Part; 7] = [
    Part::Total,
    Part::Prompt,
    Part::Completion,
    Part::Input,
    Part::Output,
    Part::CacheWrite,
    Part::CacheRead,
];

fn add<const N: usize>(numbers: [Option<u64>; N]) -> Option<u64> {
    let mut numbers = numbers.into_iter().flatten();
    let first = numbers.next()?;
    Some(numbers.fold(first, |sum, number| sum + number))
}
