//! What complete tables pass over on purpose, for those who must not take its absence for evidence.

/// Kernel parameters that change by themselves, and keys in the cryptographic sense.
pub fn sysctl(key: &str) -> bool {
    super::sysctl::leaves_out(key)
}

/// Mount points that on every system are views of the kernel, or come and go.
pub fn mount(path: &str) -> bool {
    const ROOTS: [&str; 6] = ["/proc", "/sys", "/dev/hugepages", "/dev/mqueue", "/dev/pts", "/run/user"];
    ROOTS.iter().any(|root| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_passed_over() {
        assert!(sysctl("kernel.random.boot_id") && sysctl("net.ipv6.conf.all.stable_secret") && !sysctl("kernel.randomize_va_space"));
        assert!(mount("/proc") && mount("/sys/fs/cgroup") && !mount("/dev/shm") && !mount("/system"));
    }
}
