//! What people copy from a card: random bits in the 32 symbols of Crockford's base 32, none of which is
//! easily taken for another, in groups of four.

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// How many symbols stand together: `ABCD-EFGH`.
const GROUP: usize = 4;

/// So many symbols; each has five bits.
#[derive(Clone, PartialEq, Eq)]
pub struct Symbols<const LENGTH: usize>([u8; LENGTH]);

impl<const LENGTH: usize> Symbols<LENGTH> {
    /// Writes random bits, of which the last five for each symbol count. There can't be more than 64.
    #[must_use]
    pub fn mint(random: &[u8]) -> Self {
        let bits = random.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
        let symbol = |place: usize| {
            let digit = usize::try_from(bits >> (5 * (LENGTH - 1 - place)) & 31).unwrap_or(0);
            ALPHABET.get(digit).copied().unwrap_or(b'0')
        };
        Self(std::array::from_fn(symbol))
    }

    /// Reads what a person typed: in any case, with blanks and dashes anywhere or nowhere, and with
    /// the letters I, L and O for the digits that they look like. `None` where it can't be this.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut symbols = text.chars().filter(|letter| !is_filler(*letter)).map(read_symbol);
        let mut read = [0; LENGTH];
        for place in &mut read {
            *place = symbols.next()??;
        }
        symbols.next().is_none().then_some(Self(read))
    }

    /// The symbols alone.
    #[must_use]
    pub fn canonical(&self) -> String {
        self.0.iter().map(|symbol| char::from(*symbol)).collect()
    }

    /// As a person gets them.
    #[must_use]
    pub fn grouped(&self) -> String {
        let groups = self.0.chunks(GROUP).map(String::from_utf8_lossy);
        groups.collect::<Vec<_>>().join("-")
    }
}

/// What a keyboard may put between the symbols: blanks, and dashes of any length.
fn is_filler(letter: char) -> bool {
    letter.is_whitespace() || matches!(letter, '-' | '\u{2010}'..='\u{2015}' | '\u{2212}')
}

fn read_symbol(letter: char) -> Option<u8> {
    let symbol = match letter.to_ascii_uppercase() {
        'I' | 'L' => '1',
        'O' => '0',
        other => other,
    };
    ALPHABET.iter().copied().find(|known| char::from(*known) == symbol)
}
