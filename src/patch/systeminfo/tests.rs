use super::*;

fn table(name: &str) -> TableId {
    TableId::by_name(name).expect("table")
}

fn imported(text: &[u8]) -> (String, Vec<String>) {
    let got = read(text, None).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(text)));
    let os = got.scan.rows(table("os")).first().expect("one os").to_string();
    let ids = got.scan.rows(table("hotfix")).iter().map(|r| r.get("id").as_str().unwrap_or("").to_owned()).collect();
    assert_eq!(got.scan.tables.len(), 2, "nothing else was collected");
    (os, ids)
}

const ENGLISH: &str = "\r\nHost Name:                 DESK-07\r\nOS Name:                   Microsoft Windows 10 Pro\r\n\
    OS Version:                10.0.17763 N/A Build 17763\r\nOS Manufacturer:           Microsoft Corporation\r\n\
    System Type:               x64-based PC\r\nProcessor(s):              1 Processor(s) Installed.\r\n\
    [01]: Intel64 Family 6 Model 158 Stepping 9 GenuineIntel ~2808 Mhz\r\nBIOS Version:              Contoso 10.0.9999 Build 5, 1/2/2019\r\n\
    Windows Directory:         C:\\Windows\r\nTotal Physical Memory:     32,503 MB\r\n\
    Hotfix(s):                 2 Hotfix(s) Installed.\r\n                           [01]: KB4486553\r\n                           [02]: KB4470788\r\n\
    Network Card(s):           1 NIC(s) Installed.\r\n                           [01]: TAP-Windows Adapter V9\r\n                                 [01]: 192.0.2.7\r\n";

const OS: &str = r#"os{"family":"windows","id":"windows","name":"Microsoft Windows 10 Pro","version":"10","codename":"1809","build":"10.0.17763","arch":"x86_64"}"#;

#[test]
fn a_host_in_english() {
    let (os, hotfixes) = imported(ENGLISH.as_bytes());
    assert_eq!(os, OS);
    assert_eq!(hotfixes, ["kb4470788", "kb4486553"]);
    let got = read(ENGLISH.as_bytes(), None).expect("read");
    assert_eq!(got.scan.hostname.as_deref(), Some("DESK-07"));
    assert!(got.notes.iter().any(|n| n.contains("revision")), "{:?}", got.notes);
}

#[test]
fn any_encoding_gives_the_same() {
    let units: Vec<u16> = ENGLISH.encode_utf16().collect();
    let little: Vec<u8> = units.iter().flat_map(|u| u.to_le_bytes()).collect();
    let big: Vec<u8> = units.iter().flat_map(|u| u.to_be_bytes()).collect();
    let marked = |mark: &[u8], rest: &[u8]| [mark, rest].concat();
    let cases = [
        marked(&[0xFF, 0xFE], &little),
        marked(&[0xFE, 0xFF], &big),
        little.clone(),
        big,
        marked(&[0xEF, 0xBB, 0xBF], ENGLISH.as_bytes()),
        // Half a character at the end; a program's own words before those of another; one byte of a code page.
        marked(&[0xFF, 0xFE], &[little.as_slice(), b"\n"].concat()),
        marked(b"Please wait.\r\n", &little),
        ENGLISH.replace("32,503", "32\u{1}503").bytes().map(|b| if b == 1 { 0xFF } else { b }).collect(),
    ];
    for (at, case) in cases.iter().enumerate() {
        let (os, hotfixes) = imported(case);
        assert_eq!((os.as_str(), hotfixes.len()), (OS, 2), "case {at}");
    }
}

#[test]
fn labels_in_other_languages_do_not_matter() {
    for (text, name, build, arch, count) in [
        (
            "Hostname:  PC1\nBetriebssystemname:  Microsoft Windows 7 Ultimate N \nBetriebssystemversion:  6.1.7601 Service Pack 1 Build 7601\n\
             Systemtyp:  X86-based PC\nBIOS-Version:  LENOVO 8DET74WW (1.44 ), 13.03.2018\nHotfix(es):  1 Hotfix(e) installiert.\n  [01]: 2849697\n",
            "Windows 7 for 32-bit Systems Service Pack 1",
            "6.1.7601",
            "x86",
            1,
        ),
        (
            "Имя узла:  DC\nНазвание ОС:  Майкрософт Windows Server 2019 Standard\nВерсия ОС:  10.0.17763 Н/Д построение 17763\n\
             Тип системы:  x64-based PC\nИсправление(я):  Н/Д\n",
            "Windows Server 2019",
            "10.0.17763",
            "x86_64",
            0,
        ),
        (
            "主机名：  HOST\nOS 名称：  Microsoft Windows 11 专业版\nOS 版本：  10.0.22631 暂缺 Build 22631\n系统类型：  ARM64-based PC\n修补程序：  安装了 1 个修补程序。\n [01]: KB5031455\n",
            "Windows 11 Version 23H2 for ARM64-based Systems",
            "10.0.22631",
            "aarch64",
            1,
        ),
        (
            "Nom de l’hôte:  PC-2\nNom du système d’exploitation:  Microsoft Windows\u{a0}8.1 Entreprise\nVersion:  6.3.9600 N/A version 9600\nType:  PC à base de x64\n",
            "Windows 8.1 for x64-based Systems",
            "6.3.9600",
            "x86_64",
            0,
        ),
    ] {
        let got = read(text.as_bytes(), None).unwrap_or_else(|e| panic!("{e}: {text}"));
        let os = got.scan.rows(table("os")).first().expect("one os");
        assert_eq!(windows::product(os).as_deref(), Some(name));
        assert_eq!((os.get("build").as_str(), os.get("arch").as_str()), (Some(build), Some(arch)), "{name}");
        assert_eq!(got.scan.rows(table("hotfix")).len(), count, "{name}");
        assert!(got.scan.hostname.is_some(), "{name}");
    }
    // Letters of a code page, which nobody said.
    let spanish = b"Nombre de host:  PC\r\nNombre del sistema:  Microsoft Windows 10 Educaci\xa2n\r\nVersi\xa2n:  10.0.19045 N/D Compilaci\xa2n 19045\r\nTipo:  x64-based PC\r\n";
    let (os, _) = imported(spanish);
    assert!(os.contains(r#""name":"Microsoft Windows 10 Educaci n","version":"10","codename":"22H2""#), "{os}");
}

#[test]
fn csv_and_lists() {
    let csv = "\r\n\"Host Name\",\"OS Name\",\"OS Version\",\"System Type\",\"Hotfix(s)\"\r\n\
        \"SRV\",\"Microsoft Windows Server 2016 Standard\",\"10.0.14393 N/A Build 14393\",\"x64-based PC\",\"3 Hotfix(s) Installed.,[01]: KB4486129,[02]: KB4486130, [03]: 943729\"\r\n";
    let (os, hotfixes) = imported(csv.as_bytes());
    assert!(os.contains(r#""version":"2016","build":"10.0.14393""#), "{os}");
    assert_eq!(hotfixes, ["kb4486129", "kb4486130", "kb943729"]);
    let bare = csv.lines().last().expect("line");
    assert_eq!(imported(bare.as_bytes()), (os, hotfixes));
    let list = "HOST:          SRV\nOS Name:       Microsoft(R) Windows(R) Server 2003, Standard Edition\nOS Version:    5.2.3790 Service Pack 2 Build 3790\n\
        System Type:   X86-based PC\nHotfix(s):     4 Hotfix(s) Installed.\n               [01]: File 1\n               [02]: Q147222\n               [03]: KB893803v2 - Update\n";
    let (os, hotfixes) = imported(list.as_bytes());
    assert!(os.contains(r#""version":"2003","codename":"Service Pack 2","build":"5.2.3790""#), "{os}");
    assert_eq!(hotfixes, ["kb147222", "kb893803"]);
}

#[test]
fn the_revision_comes_from_ver() {
    let text = ENGLISH.to_owned() + "\r\nMicrosoft Windows [Version 10.0.17763.5329]\r\n";
    let got = read(text.as_bytes(), None).expect("read");
    assert_eq!(got.scan.rows(table("os")).first().and_then(|r| r.get("build").as_str()), Some("10.0.17763.5329"));
    assert_eq!(got.notes, Vec::<String>::new());
}

#[test]
fn a_list_that_was_cut_is_told() {
    let notes = |text: &str| read(text.as_bytes(), None).expect("read").notes;
    assert!(!notes(ENGLISH).iter().any(|n| n.contains("cuts")));
    let cut = ENGLISH.replace("2 Hotfix(s) Installed", "3 Hotfix(s) Installed").replace("KB4470788", "KB4470788\r\n [03]: ");
    assert!(notes(&cut).iter().any(|n| n.starts_with("2 of 3 updates")), "{:?}", notes(&cut));
}

#[test]
fn what_is_not_found_is_named() {
    let refused = |text: &str| read(text.as_bytes(), None).map(|i| i.scan).expect_err("refused");
    assert_eq!(refused(""), SystemInfoError::NoVersion);
    assert_eq!(refused("KB5031364\nKB5031365\n"), SystemInfoError::NoVersion);
    assert_eq!(refused("OS Version: 10.0.17763 N/A Build 17763\n"), SystemInfoError::NoName);
    assert!(matches!(refused(&ENGLISH.replace("x64-based PC", "")), SystemInfoError::NoArchitecture(_)));
    let other = ENGLISH.to_owned() + &ENGLISH.replace("17763", "19045");
    assert!(matches!(refused(&other), SystemInfoError::SeveralHosts(..)));
    assert_eq!(read(ENGLISH.as_bytes(), Some(b"Error: access denied")).expect_err("refused"), SystemInfoError::NoUpdates);
    // A server's name needs no architecture.
    let server = "OS Name: Microsoft Windows Server 2022 Standard\nOS Version: 10.0.20348 N/A Build 20348\n";
    assert!(read(server.as_bytes(), None).is_ok());
    let preview = ENGLISH.replace("17763", "29999");
    assert!(read(preview.as_bytes(), None).is_ok_and(|i| i.notes.iter().any(|n| n.contains("29999"))));
}

#[test]
fn lists_of_updates() {
    let columns = "Description      FixComments  HotFixID   InstallDate  InstalledBy          InstalledOn  Name  ServicePackInEffect  Status\r\r\n\
        Update                        KB4462930               NT AUTHORITY\\SYSTEM  3/2/2019\r\r\n\
        Security Update               KB4485449               PC\\Björn             12/21/2018\r\r\n\
        \x20                             File 1                                                     KB893803v2\r\r\n";
    let powershell = "\nSource        Description      HotFixID      InstalledBy          InstalledOn\n------        -----------      --------      -----------          -----------\n\
        PC            Update           KB4462930     NT AUTHORITY\\SYSTEM  02.03.2019 00:00:00\nPC            Security Update  KB4485449     PC\\Björn             2018-12-21\n";
    let list = "Description=Update\n\nHotFixID=KB4462930\n\nInstalledOn=3/2/2019\n\nServicePackInEffect=\n\nDescription=Security Update\n\nHotFixID=KB4485449\n\nInstalledOn=20181221\n";
    let csv = "#TYPE x\n\"Description\",\"HotFixID\",\"InstalledOn\",\"ServicePackInEffect\"\n\"Update\",\"KB4462930\",\"3/2/2019\",\"\"\n\"Security Update\",\"KB4485449\",\"12/21/2018\",\"\"\n";
    for (text, first_date) in [(columns, Some("2019-03-02")), (powershell, None), (list, Some("2019-03-02")), (csv, Some("2019-03-02"))] {
        let got = read(ENGLISH.as_bytes(), Some(text.as_bytes())).expect("read");
        let rows = got.scan.rows(table("hotfix"));
        let find = |id: &str| rows.iter().find(|r| r.get("id").as_str() == Some(id)).unwrap_or_else(|| panic!("{id} in {text}"));
        let first = find("kb4462930");
        assert_eq!((first.get("description").as_str(), first.get("installed_on").as_str()), (Some("Update"), first_date), "{text}");
        let second = find("kb4485449");
        assert_eq!(
            (second.get("description").as_str(), second.get("installed_on").as_str()),
            (Some("Security Update"), Some("2018-12-21")),
            "{text}"
        );
        // Both lists count.
        assert_eq!(find("kb4470788").get("description").as_str(), None);
        assert_eq!(rows.len(), if text == columns { 5 } else { 4 }, "{text}");
    }
}

#[test]
fn nothing_that_is_cut_or_damaged_breaks_it() {
    for end in 0..ENGLISH.len() {
        drop(read(&ENGLISH.as_bytes()[..end], Some(&ENGLISH.as_bytes()[end..])));
    }
    let mut bytes = ENGLISH.as_bytes().to_vec();
    for at in 0..bytes.len() {
        let was = std::mem::replace(&mut bytes[at], 0xC3);
        drop(read(&bytes, None));
        bytes[at] = was;
    }
}
