use super::*;
use crate::scan::table::TableId;

fn os(name: &str, build: &str, arch: &str, codename: &str) -> Row {
    let row = Row::new(TableId::by_name("os").expect("table")).with("family", "windows").with("name", name);
    row.with("build", build).with("arch", arch).with("codename", codename)
}

#[test]
fn systems_have_the_names_that_advisories_have() {
    for (name, build, arch, codename, expected) in [
        ("Microsoft Windows 10 Pro", "10.0.17763", "x86_64", "", "Windows 10 Version 1809 for x64-based Systems"),
        ("Microsoft Windows 10 Pro", "10.0.19045.3803", "aarch64", "", "Windows 10 Version 22H2 for ARM64-based Systems"),
        ("Microsoft Windows 10 企业版 LTSC", "10.0.17763.1", "x64", "", "Windows 10 Version 1809 for x64-based Systems"),
        ("Microsoft Windows 10 Pro", "10.0.10240", "x86", "", "Windows 10 for 32-bit Systems"),
        ("Microsoft Windows 11 Famille", "22000.556", "64-bit", "", "Windows 11 Version 21H2 for x64-based Systems"),
        ("Microsoft Windows 11 Enterprise LTSC", "10.0.26100.1", "x86_64", "", "Windows 11 Version 24H2 for x64-based Systems"),
        ("Microsoft Windows 11 Pro", "10.0.29999.1", "x86_64", "27H2", "Windows 11 Version 27H2 for x64-based Systems"),
        ("Microsoft Windows Server 2025 Standard", "10.0.26100.1742", "x86_64", "24H2", "Windows Server 2025"),
        ("Microsoft Windows Server 2019 Datacenter", "10.0.17763", "x86_64", "1809", "Windows Server 2019"),
        ("Microsoft Hyper-V Server 2016", "10.0.14393", "x86_64", "", "Windows Server 2016"),
        ("Microsoft Windows Server Datacenter", "10.0.25398.5", "x86_64", "", "Windows Server 2022, 23H2 Edition"),
        ("Windows Server Standard", "10.0.17134", "x86_64", "", "Windows Server, version 1803"),
        ("Ознакомительная версия Windows Server 2012 R2 Standard", "6.3.9600", "x64-based PC", "", "Windows Server 2012 R2"),
        ("Windows 7 Enterprise", "6.1.7601", "AMD64", "", "Windows 7 for x64-based Systems Service Pack 1"),
        ("Microsoft Windows\u{a0}7 Entreprise N ", "6.1.7600", "X86-based PC", "", "Windows 7 for 32-bit Systems"),
        ("Windows 8.1 Enterprise", "6.3.9600", "x86_64", "", "Windows 8.1 for x64-based Systems"),
        (
            "Windows Server 2008 R2 Standard",
            "6.1.7601",
            "x86_64",
            "Service Pack 1",
            "Windows Server 2008 R2 for x64-based Systems Service Pack 1",
        ),
        ("Microsoftr Windows Serverr 2008 Standard", "6.0.6001", "x86", "Service Pack 1", "Windows Server 2008 for 32-bit Systems"),
        ("Microsoftr Windows Serverr 2008 Standard", "6.0.6003", "x86", "", "Windows Server 2008 for 32-bit Systems Service Pack 2"),
        ("Microsoftr Windows VistaT Enterprise", "6.0.6001", "x86_64", "", "Windows Vista x64 Edition Service Pack 1"),
        ("Microsoft Windows XP Professional", "5.1.2600", "x86", "Service Pack 3", "Windows XP Service Pack 3"),
        (
            "Microsoft(R) Windows(R) XP Professional x64 Edition",
            "5.2.3790",
            "x86_64",
            "SP2",
            "Windows XP Professional x64 Edition Service Pack 2",
        ),
        ("Microsoft(R) Windows(R) Server 2003, Standard Edition", "5.2.3790", "x86", "", "Windows Server 2003"),
        (
            "Microsoft(R) Windows(R) Server 2003 Standard x64 Edition",
            "5.2.3790",
            "x64",
            "Service Pack 2",
            "Windows Server 2003 x64 Edition Service Pack 2",
        ),
        // Without a build the name has to do.
        ("Windows Server 2022 Standard", "", "", "", "Windows Server 2022"),
        ("Windows Server 2008 R2", "", "x86_64", "SP 1", "Windows Server 2008 R2 for x64-based Systems Service Pack 1"),
        ("Windows 10 Pro", "", "x86_64", "22H2", "Windows 10 Version 22H2 for x64-based Systems"),
    ] {
        let found = product(&os(name, build, arch, codename));
        assert_eq!(found.as_deref(), Some(expected), "{name} {build} {arch} {codename}");
        assert_eq!(system_of(expected).as_deref(), Some(expected), "a system is of itself");
        // What an import writes leads to the same name.
        let (version, release) = version_of(expected);
        let row = os(name, build, arch, if codename.is_empty() { release.as_deref().unwrap_or("") } else { codename });
        assert_eq!(product(&row.with("version", version)).as_deref(), Some(expected), "{name} with its version");
    }
}

#[test]
fn what_cannot_be_told_has_no_name() {
    assert_eq!(product(&os("Windows 10 Pro", "", "x86_64", "")), None, "which version?");
    assert_eq!(product(&os("Windows 10 Pro", "10.0.17763", "", "")), None, "which architecture?");
    assert_eq!(product(&os("Windows 11 Pro", "10.0.27723", "x86_64", "")), None, "a preview");
    assert_eq!(product(&os("", "", "", "")), None);
    let linux = Row::new(TableId::by_name("os").expect("table")).with("family", "linux").with("name", "Not Windows 10");
    assert_eq!(product(&linux), None);
}

#[test]
fn the_system_of_a_product() {
    for (name, expected) in [
        ("Internet Explorer 11 on Windows 10 Version 1809 for x64-based Systems", "Windows 10 Version 1809 for x64-based Systems"),
        ("Windows 10 Version 1607 for 32-bit Systems  ", "Windows 10 Version 1607 for 32-bit Systems"),
        ("Windows 10 Version 1507 for x64-based Systems", "Windows 10 for x64-based Systems"),
        ("Windows 11 version 21H2 for ARM64-based Systems", "Windows 11 Version 21H2 for ARM64-based Systems"),
        ("Windows 11 for x64-based Systems", "Windows 11 Version 21H2 for x64-based Systems"),
        ("Windows 11 Version 25H2 for ARM systems", "Windows 11 Version 25H2 for ARM64-based Systems"),
        ("Windows 8.1 for x64-based systems", "Windows 8.1 for x64-based Systems"),
        ("Windows Server 2012 R2 (server core installation)", "Windows Server 2012 R2"),
        ("Windows Server 2012 (Server Core installation)", "Windows Server 2012"),
        ("Windows Server 2022, 23H2 Edition (Server Core installation)", "Windows Server 2022, 23H2 Edition"),
        ("Windows Server, version 20H2 (Server Core Installation)", "Windows Server, version 20H2"),
        (
            "VBScript 5.8 on Windows Server 2008 R2 for x64-based Systems Service Pack 1 (Server Core installation)",
            "Windows Server 2008 R2 for x64-based Systems Service Pack 1",
        ),
        ("Windows Server 2008 for Itanium-Based Systems Service Pack 2", "Windows Server 2008 for Itanium-based Systems Service Pack 2"),
        ("Windows Server 2008 for x64-based Systems Service Pack 1", "Windows Server 2008 for x64-based Systems"),
        ("Microsoft Windows XP Professional x64 Edition Service Pack 2", "Windows XP Professional x64 Edition Service Pack 2"),
        ("Microsoft Windows Server 2003", "Windows Server 2003"),
        ("Windows Server 2003 R2 x64 Edition Service Pack 2", "Windows Server 2003 R2 x64 Edition Service Pack 2"),
        ("Windows Server 2031", "Windows Server 2031"),
    ] {
        assert_eq!(system_of(name).as_deref(), Some(expected), "{name}");
    }
}

#[test]
fn what_is_installed_by_itself_is_of_no_system() {
    for name in [
        "Microsoft Office 2019 for 32-bit editions",
        "Microsoft SQL Server 2019 for x64-based Systems (GDR)",
        "Windows Admin Center",
        "Windows 10 HLK Version 22H2",
        "Windows ADK for Windows 10, version 1607",
        "Windows 10 Version 1607 for HoloLens",
        ".NET 8.0 installed on Windows",
        "Microsoft Windows (32-bit)",
        "Microsoft Windows XP Media Center Edition 2005 Service Pack 3",
        "Remote Desktop client for Windows Desktop",
        "Windows",
        "",
    ] {
        assert_eq!(system_of(name), None, "{name}");
    }
}
