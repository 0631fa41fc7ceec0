//! Functions: `x.startsWith("a")`, `int(x)`, `x.dpkg()`, `mode("0640")`.

use super::suggest::hint;
use super::{Checker, Found, Typed, compile_pattern, found, is_mode, subject, with_article};
use crate::rule::Code;
use crate::rule::cel::{Expr, Name, Node, Span};
use crate::rule::ir::{Func, Ir, Ty};
use crate::scan::row::parse_mode;
use crate::version::Scheme;

const METHODS: [&str; 14] = [
    "startsWith",
    "endsWith",
    "contains",
    "matches",
    "lowerAscii",
    "trim",
    "size",
    "split",
    "atMost",
    "exists",
    "all",
    "exists_one",
    "filter",
    "map",
];
const FUNCTIONS: [&str; 4] = ["has", "int", "mode", "size"];

impl Checker<'_> {
    pub(super) fn call(&mut self, expr: &Expr, target: Option<&Expr>, name: &Name, args: &[Expr]) -> Found {
        match target {
            Some(target) => self.method(expr, target, name, args),
            None => self.function(expr, name, args),
        }
    }

    fn function(&mut self, expr: &Expr, name: &Name, args: &[Expr]) -> Found {
        match name.text.as_str() {
            "has" => {
                let [place] = self.arguments(name, args, "has(x)")?;
                self.has(place)
            }
            "int" => {
                let [text] = self.arguments(name, args, "int(x)")?;
                self.int(expr.span, text)
            }
            "mode" => {
                let [text] = self.arguments(name, args, "mode(\"0640\")")?;
                let ir = self.of(text, Ty::Str, "`mode`")?;
                self.mode(text.span, ir)
            }
            "size" => {
                let [of] = self.arguments(name, args, "size(x)")?;
                self.size(of)
            }
            other => match Scheme::by_name(other) {
                Some(scheme) => {
                    let [text] = self.arguments(name, args, &format!("{scheme}(\"1.2\")"))?;
                    self.version(scheme, text)
                }
                None => self.no_function(name),
            },
        }
    }

    fn no_function(&mut self, name: &Name) -> Found {
        let message = match name.text.as_str() {
            "string" | "double" | "uint" | "bytes" | "bool" | "timestamp" | "duration" | "type" | "dyn" => {
                format!("`{}(...)` is not supported, columns are strings, ints, bools and modes", name.text)
            }
            other if METHODS.contains(&other) => format!("`{other}` is called on a value, write `x.{other}(...)`"),
            other => {
                let known = FUNCTIONS.into_iter().chain(Scheme::ALL.map(Scheme::name));
                format!("no function `{other}`{}", hint(other, known))
            }
        };
        self.say(Code::Name, name.span, message)
    }

    fn method(&mut self, expr: &Expr, target: &Expr, name: &Name, args: &[Expr]) -> Found {
        match name.text.as_str() {
            "exists" | "all" | "exists_one" | "filter" | "map" => self.macro_call(expr, target, name, args),
            "startsWith" => self.two(Func::StartsWith, target, name, args, Ty::Bool),
            "endsWith" => self.two(Func::EndsWith, target, name, args, Ty::Bool),
            "contains" => self.two(Func::Contains, target, name, args, Ty::Bool),
            "split" => self.two(Func::Split, target, name, args, Ty::StrList),
            "lowerAscii" => self.one(Func::Lower, target, name, args),
            "trim" => self.one(Func::Trim, target, name, args),
            "matches" => self.matches(target, name, args),
            "atMost" => self.at_most(target, name, args),
            "size" => {
                let [] = self.arguments(name, args, "x.size()")?;
                self.size(target)
            }
            other => match Scheme::by_name(other) {
                Some(scheme) => {
                    let [] = self.arguments(name, args, &format!("x.{scheme}()"))?;
                    self.version(scheme, target)
                }
                None if FUNCTIONS.contains(&other) => {
                    self.say(Code::Name, name.span, format!("`{other}` is called as a function, write `{other}(x)`"))
                }
                None => {
                    let known = METHODS.into_iter().chain(Scheme::ALL.map(Scheme::name));
                    self.say(Code::Name, name.span, format!("no function `.{other}()`{}", hint(other, known)))
                }
            },
        }
    }

    pub(super) fn arguments<'e, const N: usize>(&mut self, name: &Name, args: &'e [Expr], form: &str) -> Option<[&'e Expr; N]> {
        let all: Vec<&Expr> = args.iter().collect();
        match all.try_into() {
            Ok(array) => Some(array),
            Err(_) => {
                let count = args.len();
                let s = if N == 1 { "" } else { "s" };
                self.say(Code::Type, name.span, format!("`{}` takes {N} argument{s}, not {count}: `{form}`", name.text))
            }
        }
    }

    fn one(&mut self, func: Func, target: &Expr, name: &Name, args: &[Expr]) -> Found {
        let text = self.of(target, Ty::Str, &format!("`.{}()`", name.text));
        let [] = self.arguments(name, args, &format!("x.{}()", name.text))?;
        found(Ir::Call(func, vec![text?]), Ty::Str)
    }

    fn two(&mut self, func: Func, target: &Expr, name: &Name, args: &[Expr], ty: Ty) -> Found {
        let text = self.list_or_str(target, name);
        let [arg] = self.arguments(name, args, &format!("x.{}(\"...\")", name.text))?;
        let arg_ir = self.of(arg, Ty::Str, &format!("`.{}()`", name.text));
        let (text, arg_ir) = (text?, arg_ir?);
        if let (Func::Split, Ir::Str(separator)) = (func, &arg_ir)
            && separator.is_empty()
        {
            return self.say(Code::Value, arg.span, "an empty separator splits nowhere");
        }
        found(Ir::Call(func, vec![text, arg_ir]), ty)
    }

    /// A string; of a list it says what to write.
    fn list_or_str(&mut self, target: &Expr, name: &Name) -> Option<Ir> {
        let typed = self.value(target)?;
        match typed.ty {
            Ty::Str => Some(typed.ir),
            Ty::StrList if name.text == "contains" => {
                self.say(Code::Type, name.span, "`.contains()` asks strings; ask a list with `x in list`")
            }
            other => {
                let message = format!("`.{}()` needs a string, but {} is {}", name.text, subject(&typed.ir), with_article(other));
                self.say(Code::Type, target.span, message)
            }
        }
    }

    fn matches(&mut self, target: &Expr, name: &Name, args: &[Expr]) -> Found {
        let text = self.of(target, Ty::Str, "`.matches()`");
        let [pattern] = self.arguments(name, args, "x.matches(r\"...\")")?;
        let Ir::Str(regex) = self.of(pattern, Ty::Str, "`.matches()`")? else {
            return self.say(Code::Type, pattern.span, "the pattern of `matches` must be a constant");
        };
        if let Err(why) = compile_pattern(&regex) {
            return self.say(Code::Regex, pattern.span, format!("the pattern does not compile: {why}"));
        }
        found(Ir::Matches(Box::new(text?), regex), Ty::Bool)
    }

    fn at_most(&mut self, target: &Expr, name: &Name, args: &[Expr]) -> Found {
        let mode = self.value(target);
        let [limit] = self.arguments(name, args, "x.mode.atMost(\"0640\")")?;
        let bits = self.value(limit);
        let (mode, bits) = (mode?, bits?);
        if mode.ty != Ty::Int {
            let hint = if mode.ty == Ty::Str { ", use mode(...) on it" } else { "" };
            let message = format!("`.atMost()` needs a file mode, but {} is {}{hint}", subject(&mode.ir), with_article(mode.ty));
            return self.say(Code::Type, target.span, message);
        }
        let bits = match (bits.ty, &limit.node) {
            (Ty::Str, _) => self.mode(limit.span, bits.ir)?.ir,
            (Ty::Int, Node::Int(n)) => {
                let message = format!("modes are octal text, write .atMost(\"{n:04}\")");
                return self.say(Code::Type, limit.span, message);
            }
            (Ty::Int, _) => bits.ir,
            (other, _) => {
                let message = format!("`.atMost()` takes octal text such as \"0640\", not {}", with_article(other));
                return self.say(Code::Type, limit.span, message);
            }
        };
        found(Ir::Call(Func::AtMost, vec![mode.ir, bits]), Ty::Bool)
    }

    /// Octal text as an int; of a constant at once.
    fn mode(&mut self, span: Span, text: Ir) -> Found {
        match text {
            Ir::Str(text) => match parse_mode(&text) {
                Some(mode) => found(Ir::Int(mode), Ty::Int),
                None => self.say(Code::Value, span, format!("{text:?} is no file mode, write octal text such as \"0640\"")),
            },
            other => found(Ir::Call(Func::ModeOf, vec![other]), Ty::Int),
        }
    }

    fn int(&mut self, span: Span, expr: &Expr) -> Found {
        let typed = self.value(expr)?;
        match (typed.ty, typed.ir) {
            (Ty::Str, Ir::Str(text)) if text.trim().parse::<i64>().is_err() => {
                self.say(Code::Value, span, format!("{text:?} is no number"))
            }
            (Ty::Str, ir) => found(Ir::Call(Func::IntOf, vec![ir]), Ty::Int),
            (Ty::Int, ir) => self.say(Code::Type, span, format!("{} is an int already, leave out int(...)", subject(&ir))),
            (ty, ir) => self.say(Code::Type, span, format!("`int` needs a string, but {} is {}", subject(&ir), with_article(ty))),
        }
    }

    fn version(&mut self, scheme: Scheme, expr: &Expr) -> Found {
        let ir = self.of(expr, Ty::Str, &format!("`{scheme}`"))?;
        if let Ir::Str(text) = &ir
            && !scheme.accepts(text)
        {
            return self.say(Code::Value, expr.span, format!("{text:?} is no {scheme} version"));
        }
        found(Ir::Version(scheme, Box::new(ir)), Ty::Version(scheme))
    }

    /// `size` of a string, a list, a table, or the rows that a filter leaves.
    fn size(&mut self, expr: &Expr) -> Found {
        if let Some(counted) = self.count(expr) {
            return counted;
        }
        let Typed { ir, ty } = self.value(expr)?;
        match ty {
            Ty::Str => found(Ir::Call(Func::StrSize, vec![ir]), Ty::Int),
            Ty::StrList | Ty::IntList => found(Ir::Call(Func::ListSize, vec![ir]), Ty::Int),
            other => {
                let what = if is_mode(&ir) { "a file mode".to_owned() } else { with_article(other) };
                self.say(Code::Type, expr.span, format!("`size` needs a string, a list or a table, but {} is {what}", subject(&ir)))
            }
        }
    }
}
