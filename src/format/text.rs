//! Scalars as text, read strictly and written canonically; JSON and CSV share it.   "1.50" ─► Number ─► i64 f64 decimal
//!
//! Reading gives `None` or a note where a text is not exactly of the type; nothing is rounded, cut or guessed, with one
//! exception: digits of a second beyond a timestamp's precision are dropped (towards the past), since Java and Go print nine.
//! Times are counted from 1970-01-01T00:00:00Z in the unit named; years are 0001 to 9999.

use arrow::datatypes::TimeUnit;

use super::types::digits;

/// A number as it was written: `-12.50e3` has the mantissa 1250, the exponent 1 and is not an integer.
#[derive(Debug, Clone, Copy)]
pub struct Number<'a> {
    /// The text itself.
    pub text: &'a str,
    /// Whether there is a minus sign.
    pub negative: bool,
    /// All digits as one integer; meaningless with more than 19 digits.
    pub mantissa: u64,
    /// How many digits there are, those of the exponent not counted.
    pub digits: u32,
    /// The power of ten that the mantissa is multiplied by.
    pub exponent: i32,
    /// Whether it was written without point and exponent.
    pub integer: bool,
}

/// Why a value is refused, for the message's end; empty where "expected, found" says it all.
pub type Note = &'static str;

/// The value has the right form but does not fit.
pub const OUT_OF_RANGE: Note = "out of range";
/// A decimal with more digits behind the point than the type has.
pub const TOO_PRECISE: Note = "more digits behind the point than the type keeps";

impl<'a> Number<'a> {
    /// The number at the start of `text`, by JSON's grammar: no plus sign, no leading zero, digits on both sides of a point.
    #[must_use]
    pub fn json(text: &'a str) -> Option<Self> {
        let number = Self::scan(text)?;
        let unsigned = &number.text.as_bytes()[usize::from(number.negative)..];
        let whole = unsigned.iter().take_while(|b| b.is_ascii_digit()).count();
        let leading_zero = whole > 1 && unsigned[0] == b'0';
        let bare_point = unsigned.get(whole) == Some(&b'.') && !unsigned.get(whole + 1).is_some_and(u8::is_ascii_digit);
        (whole > 0 && !leading_zero && !bare_point).then_some(number)
    }

    /// A number that is all of `text`, as people write them: `+1`, `007`, `.5` and `5.` are numbers, too.
    #[must_use]
    pub fn whole(text: &'a str) -> Option<Self> {
        let text = match text.strip_prefix('+') {
            Some(rest) if !rest.starts_with('-') => rest,
            _ => text,
        };
        Self::scan(text).filter(|n| n.text.len() == text.len())
    }

    fn scan(text: &'a str) -> Option<Self> {
        let bytes = text.as_bytes();
        let negative = bytes.first() == Some(&b'-');
        let mut at = usize::from(negative);
        let mut mantissa = 0_u64;
        let mut run = |at: &mut usize| {
            let start = *at;
            while let Some(digit) = bytes.get(*at).map(|b| b.wrapping_sub(b'0')).filter(|d| *d < 10) {
                mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(digit));
                *at += 1;
            }
            *at - start
        };
        let mut count = run(&mut at);
        let mut exponent = 0_i32;
        let mut integer = true;
        if bytes.get(at) == Some(&b'.') {
            at += 1;
            let fraction = run(&mut at);
            count += fraction;
            exponent = -i32::try_from(fraction).ok()?;
            integer = false;
        }
        if count == 0 {
            return None;
        }
        if matches!(bytes.get(at), Some(b'e' | b'E')) {
            at += 1;
            let minus = bytes.get(at) == Some(&b'-');
            at += usize::from(minus || bytes.get(at) == Some(&b'+'));
            let start = at;
            let mut power = 0_i32;
            while let Some(digit) = bytes.get(at).map(|b| b.wrapping_sub(b'0')).filter(|d| *d < 10) {
                power = power.saturating_mul(10).saturating_add(i32::from(digit));
                at += 1;
            }
            if at == start {
                return None;
            }
            exponent = exponent.saturating_add(if minus { power.saturating_neg() } else { power });
            integer = false;
        }
        let digits = u32::try_from(count).ok()?;
        Some(Self { text: &text[..at], negative, mantissa, digits, exponent, integer })
    }

    /// As a whole number; `1.0` and `1e3` are none.
    ///
    /// # Errors
    /// A note if it is none, or beyond 128 bits.
    pub fn to_integer(self) -> Result<i128, Note> {
        if !self.integer {
            return Err("");
        }
        if self.digits <= 19 {
            let value = i128::from(self.mantissa);
            return Ok(if self.negative { -value } else { value });
        }
        self.text.parse().map_err(|_| OUT_OF_RANGE)
    }

    /// The nearest double.
    ///
    /// # Errors
    /// A note if it is beyond the largest double.
    pub fn to_f64(self) -> Result<f64, Note> {
        // Exact: both are whole doubles, and one multiplication or division rounds once.
        if self.digits <= 15 && self.exponent.unsigned_abs() <= 22 {
            let power = POWERS_OF_TEN[self.exponent.unsigned_abs() as usize];
            let mantissa = self.mantissa as f64;
            let value = if self.exponent < 0 { mantissa / power } else { mantissa * power };
            return Ok(if self.negative { -value } else { value });
        }
        self.text.parse().ok().filter(|v: &f64| v.is_finite()).ok_or(OUT_OF_RANGE)
    }

    /// The nearest single-precision number, rounded once (not by way of a double).
    ///
    /// # Errors
    /// A note if it is beyond the largest one.
    pub fn to_f32(self) -> Result<f32, Note> {
        if self.digits <= 7 && self.exponent.unsigned_abs() <= 10 {
            let power = POWERS_OF_TEN[self.exponent.unsigned_abs() as usize] as f32;
            let mantissa = self.mantissa as f32;
            let value = if self.exponent < 0 { mantissa / power } else { mantissa * power };
            return Ok(if self.negative { -value } else { value });
        }
        self.text.parse().ok().filter(|v: &f32| v.is_finite()).ok_or(OUT_OF_RANGE)
    }

    /// As a decimal of `precision` digits, `scale` of them behind the point, in units of the last one. Never rounds.
    ///
    /// # Errors
    /// A note if it needs more digits.
    pub fn to_decimal(self, precision: u8, scale: i8) -> Result<i128, Note> {
        let mut value = if self.digits <= 19 { i128::from(self.mantissa) } else { self.long_mantissa()? };
        let mut shift = self.exponent.saturating_add(i32::from(scale));
        while shift < 0 && value != 0 {
            if value % 10 != 0 {
                return Err(TOO_PRECISE);
            }
            value /= 10;
            shift += 1;
        }
        if value != 0 && shift > 0 {
            let factor = u32::try_from(shift).ok().and_then(|s| 10_i128.checked_pow(s));
            value = factor.and_then(|f| value.checked_mul(f)).ok_or(OUT_OF_RANGE)?;
        }
        let limit = 10_i128.checked_pow(u32::from(precision)).unwrap_or(i128::MAX);
        if value >= limit {
            return Err(OUT_OF_RANGE);
        }
        Ok(if self.negative { -value } else { value })
    }

    fn long_mantissa(self) -> Result<i128, Note> {
        let mut value = 0_i128;
        for byte in self.text.bytes().take_while(|b| !matches!(b, b'e' | b'E')).filter(u8::is_ascii_digit) {
            value = value.checked_mul(10).and_then(|v| v.checked_add(i128::from(byte - b'0'))).ok_or(OUT_OF_RANGE)?;
        }
        Ok(value)
    }
}

const POWERS_OF_TEN: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

const SECONDS_PER_DAY: i64 = 86_400;

/// How many of `unit` a second has.
#[must_use]
pub fn per_second(unit: TimeUnit) -> i64 {
    10_i64.pow(digits(unit))
}

/// A date as `2026-11-21`, in days since 1970-01-01.
#[must_use]
pub fn read_date(text: &str) -> Option<i32> {
    let bytes: &[u8; 10] = text.as_bytes().try_into().ok()?;
    if bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let (year, month, day) = (number(&bytes[..4])?, number(&bytes[5..7])?, number(&bytes[8..])?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if year < 1 || day < 1 || day > length {
        return None;
    }
    // Days from the civil calendar with years that begin in March, so that the leap day is the last one.
    let shifted = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (shifted.div_euclid(400), shifted.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    i32::try_from(era * 146_097 + day_of_era - 719_468).ok()
}

/// What a text says of a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Whole seconds since 1970-01-01T00:00:00Z; a text without a zone is taken as UTC.
    pub seconds: i64,
    /// Nanoseconds behind them, `0..1_000_000_000`.
    pub nanos: u32,
    /// How many digits of the second were written.
    pub digits: u32,
}

impl Moment {
    /// In `unit` since 1970; `None` if that does not fit 64 bits. Finer digits are dropped, towards the past.
    #[must_use]
    pub fn in_unit(self, unit: TimeUnit) -> Option<i64> {
        let scale = per_second(unit);
        let fraction = i64::from(self.nanos) / (1_000_000_000 / scale);
        self.seconds.checked_mul(scale)?.checked_add(fraction)
    }
}

/// A moment as RFC 3339 or as SQL writes it: `2026-11-21T04:40:49.123Z`, `2026-11-21 04:40:49.123+02`, without a zone, without
/// seconds. A zone's offset is applied.
#[must_use]
pub fn read_timestamp(text: &str) -> Option<Moment> {
    let bytes = text.as_bytes();
    if bytes.len() < 16 || !matches!(bytes[10], b'T' | b't' | b' ') || bytes[13] != b':' {
        return None;
    }
    let days = i64::from(read_date(text.get(..10)?)?);
    let (hour, minute) = (number(&bytes[11..13])?, number(&bytes[14..16])?);
    let mut rest = &bytes[16..];
    let mut second = 0;
    let (mut nanos, mut count) = (0_u32, 0_u32);
    if let [b':', tens, ones, more @ ..] = rest {
        second = number(&[*tens, *ones])?;
        rest = more;
        if let [b'.', more @ ..] = rest {
            rest = more;
            while let [digit @ b'0'..=b'9', more @ ..] = rest {
                if count < 9 {
                    nanos = nanos * 10 + u32::from(digit - b'0');
                }
                count += 1;
                rest = more;
            }
            if count == 0 {
                return None;
            }
            nanos *= 10_u32.pow(9 - count.min(9));
        }
    }
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let offset = read_offset(rest)?;
    let seconds = days * SECONDS_PER_DAY + hour * 3_600 + minute * 60 + second - offset;
    Some(Moment { seconds, nanos, digits: count })
}

/// `Z`, `+02:00`, `+0200`, `+02` or nothing, perhaps behind a blank, in seconds east of Greenwich.
fn read_offset(text: &[u8]) -> Option<i64> {
    let text = match text {
        [] | [b'Z' | b'z'] => return Some(0),
        [b' ', rest @ ..] if !rest.is_empty() => rest,
        all => all,
    };
    if text == b"Z" || text == b"UTC" {
        return Some(0);
    }
    let (sign, hours, minutes) = match text {
        [sign, a, b] => (sign, [*a, *b], [b'0', b'0']),
        [sign, a, b, b':', c, d] | [sign, a, b, c, d] => (sign, [*a, *b], [*c, *d]),
        _ => return None,
    };
    let (hours, minutes) = (number(&hours)?, number(&minutes)?);
    let seconds = hours * 3_600 + minutes * 60;
    match sign {
        b'+' if hours < 24 && minutes < 60 => Some(seconds),
        b'-' if hours < 24 && minutes < 60 => Some(-seconds),
        _ => None,
    }
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |n, b| b.is_ascii_digit().then(|| n * 10 + i64::from(b - b'0')))
}

/// The first and the last day that a text can say: 0001-01-01 and 9999-12-31.
pub const DAYS: std::ops::RangeInclusive<i64> = -719_162..=2_932_896;

/// Whether `value` in `unit` has a text.
#[must_use]
pub fn has_text(value: i64, unit: TimeUnit) -> bool {
    DAYS.contains(&value.div_euclid(per_second(unit)).div_euclid(SECONDS_PER_DAY))
}

/// Writes days since 1970 as `2026-11-21`.
pub fn write_date(days: i64, out: &mut Vec<u8>) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    padded(year, 4, out);
    out.push(b'-');
    padded(month, 2, out);
    out.push(b'-');
    padded(day, 2, out);
}

/// Writes a moment as `2026-11-21T04:40:49.123`, with `separator` for the T, as many digits as `unit` keeps, `Z` if `zone`.
pub fn write_timestamp(value: i64, unit: TimeUnit, zone: bool, separator: u8, out: &mut Vec<u8>) {
    let (seconds, fraction) = (value.div_euclid(per_second(unit)), value.rem_euclid(per_second(unit)));
    let of_day = seconds.rem_euclid(SECONDS_PER_DAY);
    write_date(seconds.div_euclid(SECONDS_PER_DAY), out);
    out.push(separator);
    padded(of_day / 3_600, 2, out);
    out.push(b':');
    padded(of_day / 60 % 60, 2, out);
    out.push(b':');
    padded(of_day % 60, 2, out);
    if digits(unit) > 0 {
        out.push(b'.');
        padded(fraction, digits(unit), out);
    }
    if zone {
        out.push(b'Z');
    }
}

/// Writes a decimal of units of the `scale`-th digit as `-12.50`.
pub fn write_decimal(value: i128, scale: i8, out: &mut Vec<u8>) {
    use std::io::Write;
    if value < 0 {
        out.push(b'-');
    }
    // Writing to memory does not fail.
    let value = value.unsigned_abs();
    let _ = match u32::try_from(scale).ok().map(|s| (s, 10_u128.checked_pow(s))) {
        Some((0, _)) => write!(out, "{value}"),
        Some((scale, Some(unit))) => write!(out, "{}.{:0width$}", value / unit, value % unit, width = scale as usize),
        Some((scale, None)) => write!(out, "0.{value:0width$}", width = scale as usize),
        None if value == 0 => write!(out, "0"),
        None => write!(out, "{value}{:0<width$}", "", width = usize::from(scale.unsigned_abs())),
    };
}

/// Digits with leading zeros; `value` is not negative.
fn padded(value: i64, width: u32, out: &mut Vec<u8>) {
    for place in (0..width).rev() {
        out.push(b'0' + u8::try_from(value / 10_i64.pow(place) % 10).unwrap_or(0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(text: &str, unit: TimeUnit) -> Option<i64> {
        read_timestamp(text).and_then(|m| m.in_unit(unit))
    }

    #[test]
    fn a_moment_is_read_in_each_of_its_forms() {
        for text in [
            "2026-11-21T04:40:49.123Z",
            "2026-11-21 04:40:49.123",
            "2026-11-21T06:40:49.123+02:00",
            "2026-11-21 06:40:49.123+02",
            "2026-11-20T23:10:49.123999-0530",
            "2026-11-21 04:40:49.123 UTC",
        ] {
            assert_eq!(stamp(text, TimeUnit::Millisecond), Some(1_795_236_049_123), "{text}");
        }
        assert_eq!(stamp("2026-11-21 04:40", TimeUnit::Second), Some(1_795_236_000));
        assert_eq!(stamp("1969-12-31T23:59:59.9999Z", TimeUnit::Millisecond), Some(-1));
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for text in [
            "",
            "2026-11-21",
            "2026-11-21T04:40:60Z",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-11-21T24:00:00",
            "2026-11-21T04:40:49.",
            "2026-11-21T04:40:49.1x",
            "2026-11-21T04:40:49 ",
            "20261121T044049",
            "2026-11-21T04:40:49+24:00",
            "0000-01-01T00:00:00Z",
            "2026-11-21T04:40:49é",
            "２026-11-21T04:40",
        ] {
            assert_eq!(read_timestamp(text), None, "{text}");
        }
        assert_eq!(stamp("2500-01-01T00:00:00Z", TimeUnit::Nanosecond), None);
    }

    #[test]
    fn dates_go_there_and_back() {
        for days in DAYS.step_by(37).chain([0, -1, -719_162, 2_932_896]) {
            let mut text = Vec::new();
            write_date(days, &mut text);
            let text = String::from_utf8(text).unwrap();
            assert_eq!(read_date(&text).map(i64::from), Some(days), "{text}");
        }
        assert_eq!(read_date("1970-01-01"), Some(0));
        assert_eq!(read_date("2000-02-29"), Some(11_016));
    }

    #[test]
    fn decimals_are_exact_or_refused() {
        let decimal = |text: &str, p, s| Number::whole(text).unwrap().to_decimal(p, s);
        assert_eq!(decimal("12.5", 10, 2), Ok(1_250));
        assert_eq!(decimal("-0.01", 10, 2), Ok(-1));
        assert_eq!(decimal("1.5e3", 10, 2), Ok(150_000));
        assert_eq!(decimal("1.500", 10, 1), Ok(15));
        assert_eq!(decimal("1.005", 10, 2), Err(TOO_PRECISE));
        assert_eq!(decimal("100000000", 10, 2), Err(OUT_OF_RANGE));
        assert_eq!(decimal("1e999999999999", 38, 0), Err(OUT_OF_RANGE));
        assert_eq!(decimal("0e999999999999", 38, 0), Ok(0));
        assert_eq!(decimal("12345678901234567890123456.789", 38, 3), Ok(12_345_678_901_234_567_890_123_456_789));
        assert_eq!(decimal("1e-999999999999", 38, 0), Err(TOO_PRECISE));
    }

    #[test]
    fn doubles_are_the_nearest() {
        for text in
            ["0.1", "1e22", "1e23", "123456789012345678", "4.9e-324", "0.30000000000000004", "9007199254740993", "-0.0"]
        {
            assert_eq!(
                Number::json(text).unwrap().to_f64().unwrap().to_bits(),
                text.parse::<f64>().unwrap().to_bits(),
                "{text}"
            );
            assert_eq!(
                Number::json(text).unwrap().to_f32().unwrap().to_bits(),
                text.parse::<f32>().unwrap().to_bits(),
                "{text}"
            );
        }
        assert_eq!(Number::json("1e400").unwrap().to_f64(), Err(OUT_OF_RANGE));
    }

    #[test]
    fn the_grammar_of_numbers_is_jsons() {
        for text in ["01", "-", "+1", ".5", "5.", "1e", "1e+", "-01", "--1", ""] {
            assert!(Number::json(text).is_none_or(|n| n.text.len() < text.len()), "{text}");
        }
        for text in ["+1", "007", ".5", "5.", "-1e-3"] {
            assert!(Number::whole(text).is_some(), "{text}");
        }
        for text in ["+-1", "1 ", " 1", "1x", ".", "e5", "0x10"] {
            assert!(Number::whole(text).is_none(), "{text}");
        }
    }
}
