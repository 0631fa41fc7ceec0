//! When the next round is: pauses that spread a fleet over its interval. Pure; randomness is an argument.

use std::time::Duration;

/// Below it a fleet is small or somebody is watching, and a first pause would only be in the way.
const SPREAD_FROM: Duration = Duration::from_secs(5 * 60);
/// The first pause after a failure; it doubles.
const BACK_OFF_FIRST: Duration = Duration::from_secs(5);
const BACK_OFF_LONGEST: Duration = Duration::from_secs(5 * 60);
/// A server that asks for more is not believed.
const TOLD_LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Where in the interval an endpoint begins: always the same place for the same endpoint, so that a fleet that was started together does
/// not upload together.
pub fn first(endpoint: &str, interval: Duration) -> Duration {
    if interval <= SPREAD_FROM {
        return Duration::ZERO;
    }
    let hash = blake3::hash(endpoint.as_bytes());
    let [a, b, ..] = *hash.as_bytes();
    interval * u32::from(u16::from_be_bytes([a, b])) / (1 << 16)
}

/// The interval, up to a tenth shorter or longer.
pub fn jittered(interval: Duration, random: u32) -> Duration {
    interval / 1000 * (900 + random % 201)
}

/// The pause after so many failures in a row, up to half as long again, and never longer than the interval needs.
pub fn back_off(failures: u32, interval: Duration, random: u32) -> Duration {
    let wait = BACK_OFF_FIRST.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(BACK_OFF_LONGEST).min(interval);
    wait + wait * (random % 1000) / 2000
}

/// The same where the server said how long it wants to be left alone: so long and up to half as long again, but not longer than a day, or the interval where that is longer.
pub fn told(asked: Option<Duration>, back_off: Duration, interval: Duration, random: u32) -> Duration {
    let asked = asked.unwrap_or_default().min(TOLD_LONGEST.max(interval));
    back_off.max(asked + asked * (random % 1000) / 2000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn endpoints_begin_everywhere_in_the_interval() {
        assert_eq!(first("web-1", SPREAD_FROM), Duration::ZERO);
        assert_eq!(first("web-1", HOUR), first("web-1", HOUR));
        let mut quarters = [0; 4];
        for number in 0..400 {
            let pause = first(&format!("web-{number}"), HOUR);
            assert!(pause < HOUR);
            quarters[usize::try_from(pause.as_secs() / 900).unwrap()] += 1;
        }
        assert!(quarters.iter().all(|n| *n > 60), "{quarters:?}");
    }

    #[test]
    fn pauses_stay_near_what_was_asked() {
        let pauses: Vec<Duration> = (0..1000).map(|random| jittered(HOUR, random * 7)).collect();
        assert_eq!(pauses.iter().min(), Some(&(HOUR * 9 / 10)));
        assert_eq!(pauses.iter().max(), Some(&(HOUR * 11 / 10)));
    }

    #[test]
    fn back_off_grows_and_ends() {
        assert_eq!(back_off(1, HOUR, 0), BACK_OFF_FIRST);
        assert_eq!(back_off(3, HOUR, 0), BACK_OFF_FIRST * 4);
        for failures in [8, 40, u32::MAX] {
            let pause = back_off(failures, HOUR, 999);
            assert!(pause > BACK_OFF_LONGEST && pause <= BACK_OFF_LONGEST * 3 / 2);
        }
        let told = |asked| super::told(asked, BACK_OFF_FIRST, HOUR, 1000);
        assert_eq!((told(None), told(Some(HOUR)), told(Some(HOUR * 1000))), (BACK_OFF_FIRST, HOUR, HOUR * 24));
        let second = Duration::from_secs(1);
        assert!(back_off(5, second, 500) < second * 3 / 2);
    }
}
