//! The grammar of CEL, by operator precedence: `[Token] -> Expr`. Stops at the first problem, as what follows would be guesses.

use super::lex::{Kind, TOO_BIG, Token, lex};
use super::{Expr, MAX_DEPTH, MAX_LENGTH, Name, Node, Problem, Span};
use crate::rule::Code;
use crate::rule::ir::{Arith, Cmp};

type Result<T> = std::result::Result<T, Problem>;

/// Reads one expression, all of the text.
pub fn parse(text: &str) -> Result<Expr> {
    if text.len() > MAX_LENGTH {
        let message = format!("the expression has {} bytes, over the limit of {MAX_LENGTH}", text.len());
        return Err(Problem::new(Code::Limit, Span { start: 0, end: 0 }, message));
    }
    let mut parser = Parser { tokens: lex(text)?, at: 0, depth: 0 };
    let expr = parser.expr()?;
    match parser.peek() {
        Kind::End => Ok(expr),
        _ => Err(parser.unexpected("an operator or the end")),
    }
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: u16,
}

/// How tightly a binary operator binds; `&&` and `||` are below the rest.
fn power(op: &Kind) -> Option<u8> {
    Some(match op {
        Kind::Op("||") => 1,
        Kind::Op("&&") => 2,
        Kind::Op("==" | "!=" | "<" | "<=" | ">" | ">=") => 3,
        Kind::Ident(word) if word == "in" => 3,
        Kind::Op("+" | "-") => 4,
        Kind::Op("*" | "/" | "%") => 5,
        _ => return None,
    })
}

fn too_deep(span: Span) -> Problem {
    Problem::new(Code::Limit, span, format!("the expression nests deeper than {MAX_DEPTH} levels"))
}

fn leaf(span: Span, node: Node) -> Expr {
    Expr { span, depth: 1, node }
}

fn make(span: Span, below: u16, node: Node) -> Result<Expr> {
    if below >= MAX_DEPTH {
        return Err(too_deep(span));
    }
    Ok(Expr { span, depth: below + 1, node })
}

impl Parser {
    fn peek(&self) -> &Kind {
        self.tokens.get(self.at).map_or(&Kind::End, |t| &t.kind)
    }

    fn span(&self) -> Span {
        // The last token is `End`, and nothing reads past it.
        self.tokens.get(self.at).or(self.tokens.last()).map_or(Span { start: 0, end: 0 }, |t| t.span)
    }

    fn take(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at)?.clone();
        if token.kind != Kind::End {
            self.at += 1;
        }
        Some(token)
    }

    fn eat(&mut self, op: &str) -> Option<Span> {
        let span = self.span();
        let here = matches!(self.peek(), Kind::Op(o) if *o == op);
        here.then(|| {
            self.at += 1;
            span
        })
    }

    fn expect(&mut self, op: &str) -> Result<Span> {
        self.eat(op).ok_or_else(|| self.unexpected(&format!("`{op}`")))
    }

    fn unexpected(&self, expected: &str) -> Problem {
        let message = match self.peek() {
            Kind::End => format!("the expression ends where {expected} is expected"),
            Kind::Ident(w) if w == "and" => "`and` is no operator, write `&&`".to_owned(),
            Kind::Ident(w) if w == "or" => "`or` is no operator, write `||`".to_owned(),
            Kind::Ident(w) if w == "not" => "`not` is no operator, write `!`".to_owned(),
            Kind::Ident(w) => format!("`{w}` where {expected} is expected"),
            Kind::Str(_) => format!("a string where {expected} is expected"),
            Kind::Int(n) => format!("`{n}` where {expected} is expected"),
            Kind::Op(op) => format!("`{op}` where {expected} is expected"),
        };
        Problem::new(Code::Syntax, self.span(), message)
    }

    fn enter(&mut self) -> Result<()> {
        if self.depth >= MAX_DEPTH {
            return Err(too_deep(self.span()));
        }
        self.depth += 1;
        Ok(())
    }

    fn expr(&mut self) -> Result<Expr> {
        self.enter()?;
        let mut expr = self.binary(0)?;
        if self.eat("?").is_some() {
            let then = self.binary(0)?;
            self.expect(":")?;
            let otherwise = self.expr()?;
            let below = expr.depth.max(then.depth).max(otherwise.depth);
            let span = expr.span.to(otherwise.span);
            expr = make(span, below, Node::Ternary(Box::new(expr), Box::new(then), Box::new(otherwise)))?;
        }
        self.depth -= 1;
        Ok(expr)
    }

    fn binary(&mut self, least: u8) -> Result<Expr> {
        let mut left = self.unary()?;
        while let Some(power) = power(self.peek()).filter(|p| *p >= least) {
            let Some(op) = self.take() else { break };
            // One more than its own power: operators of the same power group to the left.
            let right = self.binary(power + 1)?;
            left = combine(&op.kind, left, right)?;
        }
        Ok(left)
    }

    fn unary(&mut self) -> Result<Expr> {
        let start = self.span();
        if self.eat("!").is_some() {
            self.enter()?;
            let inner = self.unary()?;
            self.depth -= 1;
            return make(start.to(inner.span), inner.depth, Node::Not(Box::new(inner)));
        }
        if self.eat("-").is_some() {
            if let Kind::Int(n) = *self.peek() {
                let span = start.to(self.span());
                let value = 0i64.checked_sub_unsigned(n).ok_or_else(|| Problem::new(Code::Syntax, span, TOO_BIG))?;
                self.at += 1;
                return self.postfix(leaf(span, Node::Int(value)));
            }
            self.enter()?;
            let inner = self.unary()?;
            self.depth -= 1;
            return make(start.to(inner.span), inner.depth, Node::Negate(Box::new(inner)));
        }
        let primary = self.primary()?;
        self.postfix(primary)
    }

    fn postfix(&mut self, mut expr: Expr) -> Result<Expr> {
        loop {
            if self.eat(".").is_some() {
                let name = self.name()?;
                if self.eat("(").is_some() {
                    let (args, end) = self.items(")")?;
                    let below = args.iter().map(|a| a.depth).max().unwrap_or(0).max(expr.depth);
                    expr = make(expr.span.to(end), below, Node::Call(Some(Box::new(expr)), name, args))?;
                } else {
                    expr = make(expr.span.to(name.span), expr.depth, Node::Select(Box::new(expr), name))?;
                }
            } else if self.eat("[").is_some() {
                let index = self.expr()?;
                let end = self.expect("]")?;
                let below = expr.depth.max(index.depth);
                expr = make(expr.span.to(end), below, Node::Index(Box::new(expr), Box::new(index)))?;
            } else if matches!((self.peek(), &expr.node), (Kind::Op("{"), Node::Ident(_) | Node::Select(..))) {
                return Err(Problem::new(Code::Syntax, self.span(), "messages (`Type{...}`) are not supported"));
            } else {
                return Ok(expr);
            }
        }
    }

    fn name(&mut self) -> Result<Name> {
        let span = self.span();
        match self.peek() {
            Kind::Ident(text) if !matches!(text.as_str(), "in" | "true" | "false" | "null") => {
                let text = text.clone();
                self.at += 1;
                Ok(Name { text, span })
            }
            _ => Err(self.unexpected("a name")),
        }
    }

    /// Expressions between commas up to the closing bracket; lists may end in a comma, as in CEL.
    fn items(&mut self, close: &str) -> Result<(Vec<Expr>, Span)> {
        let mut items = Vec::new();
        if let Some(end) = self.eat(close) {
            return Ok((items, end));
        }
        loop {
            items.push(self.expr()?);
            if let Some(end) = self.eat(close) {
                return Ok((items, end));
            }
            if self.eat(",").is_none() {
                return Err(self.unexpected(&format!("`,` or `{close}`")));
            }
            if close == "]"
                && let Some(end) = self.eat(close)
            {
                return Ok((items, end));
            }
        }
    }

    fn primary(&mut self) -> Result<Expr> {
        let span = self.span();
        let node = match self.peek().clone() {
            Kind::Str(text) => Node::Str(text),
            Kind::Int(n) => Node::Int(i64::try_from(n).map_err(|_| Problem::new(Code::Syntax, span, TOO_BIG))?),
            Kind::Ident(word) => match word.as_str() {
                "true" => Node::Bool(true),
                "false" => Node::Bool(false),
                "null" => Node::Null,
                "in" => return Err(self.unexpected("a value")),
                _ => return self.ident(),
            },
            Kind::Op("(") => {
                self.at += 1;
                let inner = self.expr()?;
                let end = self.expect(")")?;
                return Ok(Expr { span: span.to(end), ..inner });
            }
            Kind::Op("[") => {
                self.at += 1;
                let (items, end) = self.items("]")?;
                let below = items.iter().map(|i| i.depth).max().unwrap_or(0);
                return make(span.to(end), below, Node::List(items));
            }
            Kind::Op("{") => return Err(Problem::new(Code::Syntax, span, "maps (`{...}`) are not supported")),
            Kind::Op(".") => return Err(Problem::new(Code::Syntax, span, "names that begin with `.` are not supported")),
            Kind::Op(_) | Kind::End => return Err(self.unexpected("a value")),
        };
        self.at += 1;
        Ok(leaf(span, node))
    }

    fn ident(&mut self) -> Result<Expr> {
        let name = self.name()?;
        if self.eat("(").is_none() {
            // `not x` reads as a name and then a stray one; say what was meant.
            if name.text == "not" && matches!(self.peek(), Kind::Ident(_)) {
                return Err(Problem::new(Code::Syntax, name.span, "`not` is no operator, write `!`"));
            }
            return Ok(leaf(name.span, Node::Ident(name.text)));
        }
        let (args, end) = self.items(")")?;
        let below = args.iter().map(|a| a.depth).max().unwrap_or(0);
        make(name.span.to(end), below, Node::Call(None, name, args))
    }
}

fn combine(op: &Kind, left: Expr, right: Expr) -> Result<Expr> {
    let span = left.span.to(right.span);
    let below = left.depth.max(right.depth);
    let pair = |node: fn(Box<Expr>, Box<Expr>) -> Node, l, r| make(span, below, node(Box::new(l), Box::new(r)));
    match op {
        Kind::Op("&&") => chain(span, left, right, true),
        Kind::Op("||") => chain(span, left, right, false),
        Kind::Op("==") => pair(|l, r| Node::Compare(Cmp::Eq, l, r), left, right),
        Kind::Op("!=") => pair(|l, r| Node::Compare(Cmp::Ne, l, r), left, right),
        Kind::Op("<") => pair(|l, r| Node::Compare(Cmp::Lt, l, r), left, right),
        Kind::Op("<=") => pair(|l, r| Node::Compare(Cmp::Le, l, r), left, right),
        Kind::Op(">") => pair(|l, r| Node::Compare(Cmp::Gt, l, r), left, right),
        Kind::Op(">=") => pair(|l, r| Node::Compare(Cmp::Ge, l, r), left, right),
        Kind::Op("+") => pair(|l, r| Node::Arith(Arith::Add, l, r), left, right),
        Kind::Op("-") => pair(|l, r| Node::Arith(Arith::Sub, l, r), left, right),
        Kind::Op("*") => pair(|l, r| Node::Arith(Arith::Mul, l, r), left, right),
        Kind::Op("/") => pair(|l, r| Node::Arith(Arith::Div, l, r), left, right),
        Kind::Op("%") => pair(|l, r| Node::Arith(Arith::Rem, l, r), left, right),
        // `power` names no other.
        _ => pair(Node::In, left, right),
    }
}

/// `a && b && c` is one node with three parts, however long: errors in it do not depend on the order anyway.
fn chain(span: Span, left: Expr, right: Expr, and: bool) -> Result<Expr> {
    let below = right.depth;
    let (mut parts, depth) = match left.node {
        Node::And(parts) if and => (parts, left.depth),
        Node::Or(parts) if !and => (parts, left.depth),
        node => {
            let depth = left.depth;
            (vec![Expr { node, ..left }], depth + 1)
        }
    };
    parts.push(right);
    let node = if and { Node::And(parts) } else { Node::Or(parts) };
    make(span, below.max(depth - 1), node)
}
