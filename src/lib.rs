//! cifra
