//! Tests, objects and states: entities, filters, sets.

use roxmltree::Node as Xml;

use super::super::model::{Body, Check, Entity, Existence, Filter, ObjectId, Operator, Set, SetOperand, SetOperator, StateId, Stated};
use super::part::{self, Fail, Needs, child, choice, elements, fail, flag, is_nil, required, text};

/// What a test says besides its head. Without an object it is unknown.
#[derive(Default)]
pub(super) struct TestBody {
    pub(super) check: Check,
    pub(super) existence: Existence,
    pub(super) state_operator: Operator,
    pub(super) object: Option<ObjectId>,
    pub(super) states: Vec<StateId>,
}

pub(super) fn test(element: Xml<'_, '_>, unknown: bool, needs: &mut Needs<'_, '_, '_>) -> Result<TestBody, Fail> {
    let mut body = TestBody {
        check: choice(element, "check", Check::All, part::check)?,
        existence: choice(element, "check_existence", Existence::AtLeastOne, part::existence)?,
        state_operator: choice(element, "state_operator", Operator::And, part::operator)?,
        ..TestBody::default()
    };
    if unknown {
        return Ok(body);
    }
    let Some(object) = child(element, "object") else { return fail(element, "a test without an object") };
    body.object = Some(needs.object(object, required(object, "object_ref")?.trim())?);
    for state in elements(element).filter(|e| e.tag_name().name() == "state") {
        body.states.push(needs.state(state, required(state, "state_ref")?.trim())?);
    }
    Ok(body)
}

pub(super) fn state(element: Xml<'_, '_>, needs: &mut Needs<'_, '_, '_>) -> Result<(Operator, Vec<Entity>), Fail> {
    let operator = choice(element, "operator", Operator::And, part::operator)?;
    let entities = elements(element).filter(|e| !is_annotation(*e)).map(|e| entity(e, needs)).collect::<Result<_, Fail>>()?;
    Ok((operator, entities))
}

/// Of every piece: not an entity.
fn is_annotation(element: Xml<'_, '_>) -> bool {
    matches!(element.tag_name().name(), "notes" | "Signature")
}

pub(super) fn body(element: Xml<'_, '_>, needs: &mut Needs<'_, '_, '_>) -> Result<Body, Fail> {
    if let Some(set) = child(element, "set") {
        return Ok(Body::Set(self::set(set, needs)?));
    }
    let (mut entities, mut behaviors, mut filters) = (Vec::new(), Vec::new(), Vec::new());
    for part in elements(element).filter(|e| !is_annotation(*e)) {
        match part.tag_name().name() {
            "behaviors" => behaviors.extend(part.attributes().map(|a| (Box::from(a.name()), Box::from(a.value())))),
            "filter" => filters.push(filter(part, needs)?),
            _ => entities.push(entity(part, needs)?),
        }
    }
    // A variable_object names its variable in a text: a need like any other.
    if element.tag_name().name() == "variable_object" {
        for named in elements(element).filter(|e| e.tag_name().name() == "var_ref" && e.attribute("var_ref").is_none() && !is_nil(*e)) {
            needs.variable(named, text(named).trim())?;
        }
    }
    Ok(Body::Entities { entities, behaviors, filters })
}

fn set(element: Xml<'_, '_>, needs: &mut Needs<'_, '_, '_>) -> Result<Set, Fail> {
    let operator = choice(element, "set_operator", SetOperator::Union, |v| {
        Some(match v {
            "UNION" => SetOperator::Union,
            "INTERSECTION" => SetOperator::Intersection,
            "COMPLEMENT" => SetOperator::Complement,
            _ => return None,
        })
    })?;
    let mut set = Set { operator, operands: Vec::new(), filters: Vec::new() };
    needs.nested += 1;
    for part in elements(element) {
        match part.tag_name().name() {
            "set" => set.operands.push(SetOperand::Set(self::set(part, needs)?)),
            "object_reference" => set.operands.push(SetOperand::Object(needs.object(part, text(part).trim())?)),
            "filter" => set.filters.push(filter(part, needs)?),
            other => return fail(part, format!("<{other}> cannot stand in a set")),
        }
    }
    needs.nested -= 1;
    if set.operands.is_empty() || set.operands.len() > 2 {
        return fail(element, format!("a set of {} operands; one or two are needed", set.operands.len()));
    }
    Ok(set)
}

fn filter(element: Xml<'_, '_>, needs: &mut Needs<'_, '_, '_>) -> Result<Filter, Fail> {
    let include = choice(element, "action", false, |v| match v {
        "include" => Some(true),
        "exclude" => Some(false),
        _ => None,
    })?;
    Ok(Filter { state: needs.state(element, text(element).trim())?, include })
}

fn entity(element: Xml<'_, '_>, needs: &mut Needs<'_, '_, '_>) -> Result<Entity, Fail> {
    let name = if element.tag_name().name() == "field" { required(element, "name")? } else { element.tag_name().name() };
    let datatype = choice(element, "datatype", Default::default(), part::datatype)?;
    let value = match element.attribute("var_ref") {
        Some(variable) => Stated::Variable(needs.variable(element, variable.trim())?),
        None if is_nil(element) => Stated::Nil,
        None => Stated::Literal(text(element)),
    };
    let mut fields = Vec::new();
    for field in elements(element).filter(|e| e.tag_name().name() == "field") {
        fields.push(entity(field, needs)?);
    }
    Ok(Entity {
        name: name.into(),
        datatype,
        operation: choice(element, "operation", Default::default(), part::operation)?,
        mask: flag(element, "mask", false)?,
        value,
        var_check: choice(element, "var_check", Check::All, part::check)?,
        entity_check: choice(element, "entity_check", Check::All, part::check)?,
        existence: choice(element, "check_existence", Existence::AtLeastOne, part::existence)?,
        fields,
    })
}
