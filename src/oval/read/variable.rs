//! Variables and the functions of local ones.

use roxmltree::Node as Xml;

use super::super::model::{Arithmetic, Component, Datatype, Operation, Operator, Restriction, Source, TimeFormat};
use super::part::{self, Fail, Needs, choice, elements, fail, flag, number, required, text};

pub(super) fn variable(element: Xml<'_, '_>, needs: &mut Needs<'_, '_, '_>) -> Result<(Datatype, Source), Fail> {
    let datatype = choice(element, "datatype", Datatype::String, part::datatype)?;
    let parts = || elements(element).filter(|e| !matches!(e.tag_name().name(), "notes" | "Signature"));
    let source = match element.tag_name().name() {
        "constant_variable" => Source::Constant(parts().filter(|e| e.tag_name().name() == "value").map(text).collect()),
        "external_variable" => {
            let possible_values = parts().filter(|e| e.tag_name().name() == "possible_value").map(text).collect();
            let restrictions = parts().filter(|e| e.tag_name().name() == "possible_restriction").map(restriction);
            Source::External { possible_values, restrictions: restrictions.collect::<Result<_, Fail>>()? }
        }
        "local_variable" => {
            let mut components = parts();
            match (components.next(), components.next()) {
                (Some(only), None) => Source::Local(component(only, needs)?),
                _ => return fail(element, "a local variable has exactly one component"),
            }
        }
        other => return fail(element, format!("<{other}> is not a kind of variable")),
    };
    Ok((datatype, source))
}

fn restriction(element: Xml<'_, '_>) -> Result<Restriction, Fail> {
    let mut conditions = Vec::new();
    for condition in elements(element).filter(|e| e.tag_name().name() == "restriction") {
        conditions.push((choice(condition, "operation", Operation::Equals, part::operation)?, text(condition)));
    }
    Ok(Restriction { operator: choice(element, "operator", Operator::And, part::operator)?, conditions })
}

fn components(element: Xml<'_, '_>, needs: &mut Needs<'_, '_, '_>) -> Result<Vec<Component>, Fail> {
    needs.nested += 1;
    let all: Vec<Component> = elements(element).map(|e| component(e, needs)).collect::<Result<_, Fail>>()?;
    needs.nested -= 1;
    if all.is_empty() {
        return fail(element, format!("<{}> of nothing", element.tag_name().name()));
    }
    Ok(all)
}

fn single(element: Xml<'_, '_>, needs: &mut Needs<'_, '_, '_>) -> Result<Box<Component>, Fail> {
    let mut all = components(element, needs)?;
    match (all.pop(), all.is_empty()) {
        (Some(only), true) => Ok(Box::new(only)),
        _ => fail(element, format!("<{}> of more than one component", element.tag_name().name())),
    }
}

fn component(element: Xml<'_, '_>, needs: &mut Needs<'_, '_, '_>) -> Result<Component, Fail> {
    Ok(match element.tag_name().name() {
        "literal_component" => {
            Component::Literal { datatype: choice(element, "datatype", Datatype::String, part::datatype)?, value: text(element) }
        }
        "object_component" => Component::Object {
            object: needs.object(element, required(element, "object_ref")?.trim())?,
            field: required(element, "item_field")?.into(),
            record_field: element.attribute("record_field").map(Into::into),
        },
        "variable_component" => Component::Variable(needs.variable(element, required(element, "var_ref")?.trim())?),
        "arithmetic" => Component::Arithmetic { operation: arithmetic(element)?, of: components(element, needs)? },
        "begin" => Component::Begin { character: required(element, "character")?.into(), of: single(element, needs)? },
        "end" => Component::End { character: required(element, "character")?.into(), of: single(element, needs)? },
        "concat" => Component::Concat(components(element, needs)?),
        "count" => Component::Count(components(element, needs)?),
        "escape_regex" => Component::EscapeRegex(single(element, needs)?),
        "glob_to_regex" => Component::GlobToRegex { noescape: flag(element, "glob_noescape", false)?, of: single(element, needs)? },
        "merge" => Component::Merge(components(element, needs)?),
        "regex_capture" => {
            let pattern = element.attribute("pattern").unwrap_or_default().into();
            Component::RegexCapture { pattern, of: single(element, needs)? }
        }
        "split" => Component::Split { delimiter: required(element, "delimiter")?.into(), of: single(element, needs)? },
        "substring" => {
            required(element, "substring_start").and(required(element, "substring_length"))?;
            let (start, length) = (number(element, "substring_start", 0)?, number(element, "substring_length", 0)?);
            Component::Substring { start, length, of: single(element, needs)? }
        }
        "time_difference" => {
            let of = components(element, needs)?;
            if of.len() > 2 {
                return fail(element, "<time_difference> of more than two components");
            }
            let format = |name| choice(element, name, TimeFormat::YearMonthDay, time_format);
            Component::TimeDifference { first: format("format_1")?, second: format("format_2")?, of }
        }
        "unique" => Component::Unique(components(element, needs)?),
        other => return fail(element, format!("<{other}> is not a function or component that this version knows")),
    })
}

fn arithmetic(element: Xml<'_, '_>) -> Result<Arithmetic, Fail> {
    match required(element, "arithmetic_operation")? {
        "add" => Ok(Arithmetic::Add),
        "multiply" => Ok(Arithmetic::Multiply),
        other => fail(element, format!("`{other}` is not a value of `arithmetic_operation`")),
    }
}

fn time_format(value: &str) -> Option<TimeFormat> {
    Some(match value {
        "year_month_day" => TimeFormat::YearMonthDay,
        "month_day_year" => TimeFormat::MonthDayYear,
        "day_month_year" => TimeFormat::DayMonthYear,
        "win_filetime" => TimeFormat::WinFiletime,
        "seconds_since_epoch" => TimeFormat::SecondsSinceEpoch,
        "cim_datetime" => TimeFormat::CimDatetime,
        _ => return None,
    })
}
